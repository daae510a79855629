"""Each peer whose package is here trains in a recipe's shape, with as many parameters as ours."""

import pytest
import torch
from small_runs import MODEL

from benchmarks.peers import loop as peers_loop
from benchmarks.peers.loop import PeerLoop, plain, use_best_micro_batch
from benchmarks.peers.models import PEERS
from benchmarks.step_times import Timing
from megatron_recipe.flops import parameter_count
from megatron_recipe.recipes import load_config

CPU = torch.device("cpu")
VOCAB = 256


def peer_loop(peer: str, tied: bool = True) -> PeerLoop:
    """Four samples a step, not compiled."""
    pytest.importorskip(PEERS[peer].package)
    config = load_config("gpt_tiny_cpu", (*MODEL, f"model.tied_embeddings={str(tied).lower()}"))
    return PeerLoop(plain(PEERS[peer]), config, VOCAB, 4, CPU)


@pytest.mark.parametrize("peer", PEERS)
def test_a_peer_trains_in_our_shape(peer: str) -> None:
    for tied in (True, False):
        loop = peer_loop(peer, tied)
        ours = parameter_count(loop.config.model, VOCAB)
        assert sum(parameter.numel() for parameter in loop.model.parameters()) == ours
    loop.use(2)
    before = [parameter.detach().clone() for parameter in loop.model.parameters()]
    loop.step()
    assert loop.tokens == 4 * 64
    assert float(loop.loss) == pytest.approx(5.55, abs=0.6)  # ln 256
    changed = [bool((one != other).any()) for one, other in zip(loop.model.parameters(), before, strict=True)]
    # BF16 holds no step of a ten-thousandth on a norm's weight of 1
    assert sum(changed) >= 0.7 * len(changed)


def test_the_fastest_micro_batch_that_fits_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = peer_loop("transformers")

    def timed(one: PeerLoop, warm_up: int, intervals: int) -> Timing:
        if one.micro_batch == 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return Timing([{1: 3.0, 2: 2.0}[one.micro_batch]], one.tokens, None)

    monkeypatch.setattr(peers_loop, "time_steps", timed)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    assert use_best_micro_batch(loop, [1, 2, 4]) == {1: "85 tokens/s", 2: "128 tokens/s", 4: "out of memory"}
    assert loop.micro_batch == 2
    with pytest.raises(torch.OutOfMemoryError):
        use_best_micro_batch(loop, [4])
