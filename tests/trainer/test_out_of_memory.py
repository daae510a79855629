"""An out-of-memory, made by hand: what is said, what is written down, and what the next start takes."""

import json
from pathlib import Path

import pytest
import torch

from megatron_recipe import out_of_memory as module
from megatron_recipe.config import Config
from megatron_recipe.errors import MachineError
from megatron_recipe.out_of_memory import LIMIT, out_of_memory_is_an_error, within_limit
from megatron_recipe.plan.resolve import largest_part
from megatron_recipe.recipes import load_config

VOCABULARY = 32_000
CARD = "NVIDIA H100 80 GB SXM"


def configured(micro_batch: int = 8, recompute: str = "none") -> Config:
    overrides = (f"batch.micro_batch_size_samples={micro_batch}", f"memory.recompute={recompute}")
    return load_config("gpt_1b", overrides)


def choice(config: Config) -> tuple[int, str]:
    return config.batch.micro_batch, config.memory.recompute


class Started:
    """Takes the place of `start_again`, which would replace this process."""

    def __init__(self) -> None:
        self.world_sizes: list[int] = []

    def __call__(self, world_size: int) -> None:
        self.world_sizes.append(world_size)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    started = Started()
    monkeypatch.setattr(module, "start_again", started)
    return started


def run_out(config: Config, folder: Path, *, take_smaller: bool = True, world_size: int = 1, card: str = CARD) -> None:
    with out_of_memory_is_an_error(config, VOCABULARY, world_size, folder, card=card, take_smaller=take_smaller):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2.00 GiB." + " and so on" * 50)


def refused(config: Config, folder: Path, **options: bool) -> str:
    with pytest.raises(MachineError) as caught:
        run_out(config, folder, **options)
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)
    return str(caught.value)


def test_the_message_names_the_largest_part_and_what_fits(tmp_path, started):
    message = refused(configured(), tmp_path, take_smaller=False)
    part, size = largest_part(configured(), VOCABULARY, 1)
    assert part == "activations"
    assert message.startswith(
        "out of GPU memory with micro-batch 8, recompute none: the largest part is activations, "
        f"{size / 1e9:.1f} GB by plan; "
    )
    assert "batch.micro_batch_size_samples=4 with memory.recompute=none needs less" in message
    assert "--auto-micro-batch" in message
    assert "CUDA said: CUDA out of memory. Tried to allocate 2.00 GiB." in message
    assert len(message.partition("CUDA said: ")[2]) == 160
    assert not (tmp_path / LIMIT).exists() and started.world_sizes == []


def test_with_one_sample_it_is_recompute_that_is_raised(tmp_path, started):
    message = refused(configured(1), tmp_path, take_smaller=False)
    assert "micro_batch_size_samples=1 with memory.recompute=selective needs less" in message


def test_where_nothing_smaller_is_left_it_says_so_and_does_not_start_again(tmp_path, started):
    message = refused(configured(1, "full"), tmp_path, take_smaller=True)
    assert "the largest part is optimizer" in message
    assert "nothing smaller is left: take a card with more memory, more cards, or parallel.tensor=2" in message
    assert not (tmp_path / LIMIT).exists() and started.world_sizes == []


def test_the_smaller_choice_is_written_and_taken_by_the_next_start(tmp_path, started, capsys):
    run_out(configured(), tmp_path)
    assert started.world_sizes == [1]
    assert capsys.readouterr().err.endswith("; taking that\n")
    assert choice(within_limit(configured(), tmp_path, CARD)) == (4, "none")


def test_nothing_but_batch_and_recompute_is_changed(tmp_path, started):
    run_out(configured(1), tmp_path)
    assert within_limit(configured(1), tmp_path, CARD) == configured(1, "selective")


def test_a_second_out_of_memory_goes_on_from_the_first(tmp_path, started):
    config, found = configured(4), []
    for _ in range(4):
        run_out(config, tmp_path)
        config = within_limit(configured(4), tmp_path, CARD)  # each start resolves the recipe anew
        found.append(choice(config))
    assert found == [(2, "none"), (1, "none"), (1, "selective"), (1, "full")]
    assert started.world_sizes == [1] * 4
    assert json.loads((tmp_path / LIMIT).read_text(encoding="utf-8"))["was"] == "micro-batch 4, recompute none"


def test_another_card_chooses_for_itself(tmp_path, started):
    run_out(configured(), tmp_path)
    assert choice(within_limit(configured(), tmp_path, "NVIDIA H200 141 GB")) == (8, "none")


def test_another_choice_of_the_user_is_not_overruled(tmp_path, started):
    run_out(configured(), tmp_path)
    for own in (configured(16), configured(8, "selective"), configured(2)):
        assert within_limit(own, tmp_path, CARD) == own


def test_an_out_of_memory_on_another_card_begins_anew(tmp_path, started):
    run_out(configured(), tmp_path)
    run_out(configured(4), tmp_path, card="RTX")
    assert choice(within_limit(configured(4), tmp_path, "RTX")) == (2, "none")
    assert choice(within_limit(configured(8), tmp_path, "RTX")) == (8, "none")


def test_an_out_of_memory_of_another_choice_begins_anew(tmp_path, started):
    run_out(configured(8), tmp_path)
    run_out(configured(2), tmp_path)
    assert choice(within_limit(configured(2), tmp_path, CARD)) == (1, "none")
    assert choice(within_limit(configured(8), tmp_path, CARD)) == (8, "none")


def test_without_a_limit_the_configuration_stays(tmp_path):
    assert within_limit(configured(), tmp_path, CARD) == configured()


@pytest.mark.parametrize("content", ["", "{", "[]", "7", "{}", '{"card": "NVIDIA H100 80 GB SXM", "was": "x"}'])
def test_a_limit_that_cannot_be_read_is_none(tmp_path, started, content):
    (tmp_path / LIMIT).write_text(content, encoding="utf-8")
    assert within_limit(configured(), tmp_path, CARD) == configured()
    run_out(configured(), tmp_path)
    assert choice(within_limit(configured(), tmp_path, CARD)) == (4, "none")


def test_ranks_that_run_out_at_once_write_the_same(tmp_path, started):
    for _ in range(3):
        run_out(configured(), tmp_path, world_size=8)
    assert choice(within_limit(configured(), tmp_path, CARD)) == (4, "none")
    assert started.world_sizes == [8] * 3


def test_a_rank_whose_file_another_one_renamed_starts_again_all_the_same(tmp_path, started, monkeypatch):
    def taken(path: Path, value: object) -> None:
        raise FileNotFoundError(path)

    monkeypatch.setattr(module, "write_json", taken)
    run_out(configured(), tmp_path, world_size=8)
    assert started.world_sizes == [8]


def test_several_ranks_are_started_again_by_torchrun(tmp_path):
    with pytest.raises(MachineError, match=r"--max-restarts 3; else run the same command again"):
        run_out(configured(), tmp_path, world_size=2)
    assert choice(within_limit(configured(), tmp_path, CARD)) == (4, "none")


def test_one_process_is_replaced_by_the_same_command(tmp_path, monkeypatch):
    commands = []
    monkeypatch.setattr(module.sys, "orig_argv", ["python", "-m", "megatron_recipe.cli", "train", "gpt_1b"])
    monkeypatch.setattr(module.os, "execv", lambda *command: commands.append(command))
    run_out(configured(), tmp_path)
    python = module.sys.executable
    assert commands == [(python, [python, "-m", "megatron_recipe.cli", "train", "gpt_1b"])]


def test_what_ends_well_or_otherwise_is_left_alone(tmp_path, started):
    with out_of_memory_is_an_error(configured(), VOCABULARY, 1, tmp_path, card=CARD, take_smaller=True):
        pass
    with (
        pytest.raises(RuntimeError, match="another error"),
        out_of_memory_is_an_error(configured(), VOCABULARY, 1, tmp_path, card=CARD, take_smaller=True),
    ):
        raise RuntimeError("another error")
    assert started.world_sizes == [] and list(tmp_path.iterdir()) == []
