"""The optimizers and the schedule: what they compute, what is decayed, how a loaded one goes on."""

import math
import re

import pytest
import torch
from direct_steps import BATCH, DirectRun, small_config

from megatron_recipe import optimizer
from megatron_recipe.config import Config
from megatron_recipe.momentum_sgd import MomentumSGD

PLAIN = "parallel.distributed_optimizer=false"
KINDS = {
    "adamw": (),
    "adamw, not distributed": (PLAIN,),
    "sgd": ("optimizer.kind=sgd", PLAIN, "schedule.peak_learning_rate=0.1"),
    "sgd in bf16": ("optimizer.kind=sgd", PLAIN, "schedule.peak_learning_rate=0.1", "precision.dtype=bf16"),
    "muon": ("optimizer.kind=muon", PLAIN),
    "muon in bf16": ("optimizer.kind=muon", PLAIN, "precision.dtype=bf16"),
}
NAMES = {
    "adamw": "megatron_recipe GroupStepAdamW",
    "sgd": "megatron_recipe MomentumSGD",
    "muon": "megatron TensorParallelMuon + megatron_recipe GroupStepAdamW",
}


FC1 = "0.module.decoder.layers.0.mlp.linear_fc1.weight"


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_optimizer_goes_on_to_the_last_bit(module_groups, tmp_path, kind):
    if kind.startswith("muon"):
        pytest.importorskip("emerging_optimizers")
    straight = DirectRun(small_config(*KINDS[kind]))
    assert optimizer.optimizer_name(straight.optimizer) == NAMES[re.split("[ ,]", kind)[0]]
    straight.steps(3)
    straight.save(tmp_path / "checkpoint")
    before = straight.weights()
    resumed = DirectRun(small_config(*KINDS[kind], "train.seed=99"))
    assert not torch.equal(resumed.weights()[FC1], before[FC1])
    resumed.load(tmp_path / "checkpoint", straight.done)
    assert resumed.steps(3) == straight.steps(3)
    after = straight.weights()
    assert [name for name, weight in resumed.weights().items() if not torch.equal(weight, after[name])] == []
    # small updates of a norm's weights may round to nothing in BF16
    matrices = [name for name, weight in after.items() if weight.dim() == 2]
    assert [name for name in matrices if torch.equal(after[name], before[name])] == []


@pytest.mark.parametrize("kind", ["adamw, not distributed", "sgd", "muon"])
def test_norms_and_biases_are_not_decayed_and_matrices_are(module_groups, kind):
    """Megatron decays what has two dimensions: also the embedding, which is the output layer where both are one."""
    if kind == "muon":
        pytest.importorskip("emerging_optimizers")
    run = DirectRun(small_config(*KINDS[kind], "model.qkv_bias=true", "optimizer.weight_decay=0.25"))
    run.step()
    decays = {parameter: group["weight_decay"] for group in run.optimizer.param_groups for parameter in group["params"]}
    named = {name: decays[parameter] for name, parameter in run.model[0].module.named_parameters()}
    assert named["embedding.word_embeddings.weight"] == named["decoder.layers.0.mlp.linear_fc1.weight"] == 0.25
    plain = {name for name in named if "norm" in name or name.endswith("linear_qkv.bias")}
    assert {name for name, decay in named.items() if decay == 0} == plain and len(plain) == 3 * 4 + 1
    assert len([name for name in named if "norm" in name]) == 2 * 4 + 1


@pytest.mark.parametrize("kind", KINDS)
def test_they_learn(module_groups, kind):
    if kind.startswith("muon"):
        pytest.importorskip("emerging_optimizers")
    losses = [loss for loss, _ in DirectRun(small_config(*KINDS[kind])).steps(8)]
    assert losses[-1] < losses[0] - 0.2


def test_sgd_without_decay_is_torchs():
    ours, theirs = ([torch.nn.Parameter(torch.full((3, 2), 0.5))] for _ in range(2))
    first, second = MomentumSGD(ours, 0.1, momentum=0.9), torch.optim.SGD(theirs, 0.1, momentum=0.9)
    for step in range(5):
        ours[0].grad = theirs[0].grad = torch.full((3, 2), 1.0 + step)
        first.step()
        second.step()
    torch.testing.assert_close(ours[0], theirs[0])


def test_sgd_decays_apart_from_the_momentum():
    (weight,) = parameters = [torch.nn.Parameter(torch.tensor([2.0]))]
    sgd = MomentumSGD(parameters, lr=0.1, weight_decay=0.5, momentum=0.9)
    weight.grad = torch.zeros(1)
    sgd.step()
    sgd.step()
    assert weight.item() == pytest.approx(2.0 * (1 - 0.1 * 0.5) ** 2)
    assert sgd.state[weight]["momentum_buffer"].item() == 0


def muon_update(rows: int, columns: int) -> torch.Tensor:
    """Change of one matrix by Muon's first step, at rate 1 and without decay."""
    from megatron.core.optimizer.emerging_optimizers import TensorParallelMuon

    matrix = torch.nn.Parameter(torch.zeros(rows, columns))
    matrix.grad = torch.randn(rows, columns, generator=torch.Generator().manual_seed(0))
    settings = {name.removeprefix("muon_"): value for name, value in optimizer.muon_settings(0.95).items()}
    muon = TensorParallelMuon([matrix], lr=1.0, weight_decay=0.0, **{**settings, "split_qkv": False})
    muon.step()
    return matrix.detach()


@pytest.mark.parametrize(("rows", "columns"), [(64, 64), (192, 64), (64, 256)])
def test_muons_update_has_the_size_of_adamws(rows, columns):
    """About 0.2 a weight (root mean square), whatever the shape: all singular values near one, then scaled."""
    pytest.importorskip("emerging_optimizers")
    update = muon_update(rows, columns)
    assert update.square().mean().sqrt().item() == pytest.approx(0.2, rel=0.25)
    values = torch.linalg.svdvals(update) / (0.2 * max(rows, columns) ** 0.5)
    assert values.quantile(0.05) > 0.7 and values.max() < 1.3


def rates(config: Config, run: DirectRun, ticks: list[int]) -> list[float]:
    """Learning rates where a clock puts the schedule at each of `ticks`."""
    scheduler = optimizer.build_scheduler(config, run.optimizer)
    found = []
    for tick in ticks:
        scheduler.num_steps = tick
        scheduler.step(0)
        found.append(run.optimizer.param_groups[0]["lr"])
    return found


WSD = (
    "schedule.decay=wsd",
    "schedule.wsd_decay_fraction=0.5",
    "schedule.warmup_fraction=0.1",
    "schedule.peak_learning_rate=1.0",
    "schedule.min_learning_rate=0.2",
)


@pytest.fixture(scope="module")
def any_run(module_groups: None) -> DirectRun:
    return DirectRun(small_config(*WSD))


@pytest.mark.parametrize(
    ("shape", "quarter"),
    [
        ("linear", 0.2 + 0.8 * 0.75),
        ("cosine", 0.2 + 0.8 * (1 + math.cos(math.pi / 4)) / 2),
        ("minus_sqrt", 0.2 + 0.8 * 0.5),
    ],
)
def test_wsd_rises_stays_and_decays_by_its_shape_where_a_clock_puts_it(any_run, shape, quarter):
    config = small_config(*WSD, f"schedule.wsd_decay_shape={shape}")
    total = 20 * BATCH
    ticks = [total // 20, total // 10, total // 2, total * 5 // 8, total, 2 * total, total // 20]
    assert rates(config, any_run, ticks) == pytest.approx([0.5, 1.0, 1.0, quarter, 0.2, 0.2, 0.5])


def test_a_ramp_up_makes_the_schedule_shorter_in_samples(any_run):
    ramp = ("batch.ramp_up_from_samples=2", "batch.ramp_up_increment_samples=2", "batch.ramp_up_steps=6")
    plain, ramped = (optimizer.build_scheduler(small_config(*WSD, *extra), any_run.optimizer) for extra in ((), ramp))
    assert plain.lr_decay_steps == 20 * BATCH
    assert ramped.lr_decay_steps == 14 * BATCH + 2 * (2 + 4 + 6)
    assert ramped.lr_warmup_steps == round(0.1 * ramped.lr_decay_steps)
    assert plain.wsd_decay_steps == 10 * BATCH
