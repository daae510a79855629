"""What a continued run may change: nothing that its checkpoint would silently override."""

from pathlib import Path

import pytest

from megatron_recipe.errors import ConfigError
from megatron_recipe.recipes import load_config, write_config
from megatron_recipe.run_folder import CONFIG, check_same_run

CHECKSUMS = {"datasets/demo": "a" * 64}


def going_on(folder: Path, *overrides: str) -> None:
    write_config(load_config("gpt_tiny_cpu"), folder / CONFIG)
    check_same_run(load_config("gpt_tiny_cpu", overrides), folder, samples=160, position=160, checksums=CHECKSUMS)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("optimizer.beta2=0.5", "optimizer.beta2: 0.95 in"),
        ("optimizer.epsilon=1.0e-3", "optimizer.epsilon: 1e-08 in"),
        ("data.mask_between_documents=true", "data.mask_between_documents: False in"),
        ("schedule.peak_learning_rate=1.0e-4", "schedule.peak_learning_rate: "),
        ("batch.global_batch_size_samples=64", "batch.global_batch_size_samples: "),
    ],
)
def test_refused(tmp_path, override, said):
    with pytest.raises(ConfigError, match="holds a run that began with other settings") as caught:
        going_on(tmp_path, override)
    assert said in str(caught.value) and str(caught.value).count(" now") == 1  # what is equal is not said


@pytest.mark.parametrize(
    "override", ["optimizer.weight_decay=0.0", "optimizer.clip_grad_norm=0.5", "train.log_every_steps=3"]
)
def test_allowed(tmp_path, override):
    going_on(tmp_path, override)
    with pytest.raises(ConfigError) as caught:
        going_on(tmp_path, override, "optimizer.beta2=0.5")
    assert "optimizer.beta2: " in str(caught.value) and override.split("=")[0] not in str(caught.value)


def test_a_run_with_a_budget_does_not_go_on_without_it(tmp_path):
    wsd = "schedule.decay=wsd"
    write_config(load_config("gpt_tiny_cpu", (wsd, "budget.amount=25", "budget.unit=seconds")), tmp_path / CONFIG)
    with pytest.raises(ConfigError, match=r"its length is a budget of 25 seconds in .*, and none is given now"):
        check_same_run(load_config("gpt_tiny_cpu", (wsd,)), tmp_path, samples=160, position=160, checksums=CHECKSUMS)


def test_a_budget_of_tokens_is_named_as_the_user_gave_it(tmp_path):
    def with_budget(tokens: int, steps: int):
        return load_config("gpt_tiny_cpu", (f"budget.amount={tokens}", "budget.unit=tokens", f"train.steps={steps}"))

    write_config(with_budget(20_000, 9), tmp_path / CONFIG)
    with pytest.raises(ConfigError, match=r"--budget: 20,000 tokens in .*, 40,000 tokens now; start") as caught:
        check_same_run(with_budget(40_000, 19), tmp_path, samples=160, position=160, checksums=CHECKSUMS)
    assert "train.steps" not in str(caught.value)
