"""Measure one peer, in this process. The last line is JSON.

python -m benchmarks.peers.run PEER --recipe gpt_1b [--samples 64] [--micro-batches 4 8] [--no-compile]
"""

import argparse
import json
from dataclasses import asdict
from importlib.metadata import version

import torch

from benchmarks.peers.loop import PeerLoop, fast_attention, plain, use_best_micro_batch
from benchmarks.peers.models import PEERS
from benchmarks.step_times import time_steps
from megatron_recipe.recipes import load_config


def main() -> None:
    """Try the micro-batches, then time the better one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--recipe", default="gpt_1b")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="section.field=value")
    parser.add_argument("--vocab-size", type=int, default=32_000)
    parser.add_argument("--samples", type=int, default=64, help="of a step")
    parser.add_argument("--micro-batches", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--intervals", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5, help="of an interval")
    parser.add_argument("--no-compile", action="store_true")
    options = parser.parse_args()
    config = load_config(options.recipe, tuple(options.overrides))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    peer = plain(PEERS[options.peer]) if options.no_compile else PEERS[options.peer]
    with fast_attention(device):
        loop = PeerLoop(peer, config, options.vocab_size, options.samples, device)
        tried = use_best_micro_batch(loop, options.micro_batches)
        timing = time_steps(loop, 1, options.intervals, options.steps)
    assert loop.loss is not None
    report = {
        "peer": options.peer,
        "version": version(peer.package),
        "compiled": peer.compiled,
        "micro_batch": loop.micro_batch,
        "tried": tried,
        "parameters": sum(parameter.numel() for parameter in loop.model.parameters()),
        "loss": float(loop.loss),
        **asdict(timing),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
