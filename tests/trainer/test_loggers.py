"""Records of a run hold each step once, whatever cut them short."""

import json
import struct
from pathlib import Path

import pytest

from megatron_recipe.files import read_jsonl
from megatron_recipe.loggers import RunLog, logging_problems
from megatron_recipe.loggers.records import numeric_fields
from megatron_recipe.recipes import load_config
from megatron_recipe.report.run_files import latest_pass

CONFIG = load_config("gpt_tiny_cpu", ("logging.tensorboard=false",))


def write_steps(run_dir: Path, steps: range, resumed_at_step: int = 0) -> None:
    log = RunLog(run_dir, CONFIG, resumed_at_step)
    log.event("resume" if resumed_at_step else "start", step=resumed_at_step)
    for step in steps:
        log.metric("train", {"step": step, "loss": 1.0})
    log.close()


def steps_of(run_dir: Path) -> list[int]:
    return [record["step"] for record in read_jsonl(run_dir / "metrics.jsonl")]


@pytest.mark.parametrize("resumed_at_step", [0, 4])
def test_steps_that_are_taken_again_are_recorded_once(tmp_path, resumed_at_step):
    """0: killed before the first checkpoint."""
    write_steps(tmp_path, range(1, 7))
    write_steps(tmp_path, range(resumed_at_step + 1, 11), resumed_at_step)
    assert steps_of(tmp_path) == list(range(1, 11))


def test_lines_cut_by_a_kill_are_dropped_and_the_next_ones_are_whole(tmp_path):
    write_steps(tmp_path, range(1, 5))
    # in the middle of a Chinese character
    for name in ("metrics.jsonl", "events.jsonl"):
        with (tmp_path / name).open("ab") as file:
            file.write('{"step": 5, "note": "检'.encode()[:-1])
    write_steps(tmp_path, range(5, 7), resumed_at_step=4)
    assert steps_of(tmp_path) == list(range(1, 7))
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [event["event"] for event in events] == ["start", "resume"]


def test_a_rollback_keeps_both_passes_and_a_restart_prunes_behind_its_checkpoint(tmp_path):
    log = RunLog(tmp_path, CONFIG, 0)
    for step in (1, 2, 3, 4, 5, 6):
        log.metric("train", {"step": step, "loss": 1.0})
    log.rewind(2)
    for step in (3, 4):
        log.metric("train", {"step": step, "loss": 2.0})
    log.close()
    assert steps_of(tmp_path) == [1, 2, 3, 4, 5, 6, 3, 4]
    RunLog(tmp_path, CONFIG, 3).close()
    assert steps_of(tmp_path) == [1, 2, 3, 3]
    kept = latest_pass(read_jsonl(tmp_path / "metrics.jsonl"))
    assert [(record["step"], record["loss"]) for record in kept] == [(1, 1.0), (2, 1.0), (3, 2.0)]


def single(value: float) -> float:
    """`value` in single precision, as TensorBoard keeps it."""
    return struct.unpack("f", struct.pack("f", value))[0]


def test_tensorboard_holds_the_numbers_of_metrics_jsonl_also_after_a_rollback(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = load_config("gpt_tiny_cpu")
    log = RunLog(tmp_path, config, 0)
    for step in (1, 2, 3):
        log.metric("train", {"step": step, "loss": 1 / step, "mfu_full": None, "note": "text", "due": True})
    log.metric("validation/zh", {"step": 3, "loss": 0.3, "perplexity": 1.35})
    log.rewind(1)
    for step in (2, 3, 4):
        log.metric("train", {"step": step, "loss": 2 / step, "tokens": 10**10 + step})
    log.close()
    second = RunLog(tmp_path, config, 3)  # killed after step 4, continued at 3
    second.metric("train", {"step": 4, "loss": 0.25, "tokens": 7})
    second.close()

    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    found = {(tag, scalar.step): scalar.value for tag in events.Tags()["scalars"] for scalar in events.Scalars(tag)}
    assert found == {
        (name, record["step"]): single(value)
        for record in latest_pass(read_jsonl(tmp_path / "metrics.jsonl"))
        for name, value in numeric_fields(record.pop("kind"), record).items()
    }
    assert found["train/loss", 2] == 1.0
    assert ("train/loss", 4) in found
    assert ("validation/zh/loss", 3) not in found  # taken before the rollback


def test_a_logger_that_fails_is_left_out_and_the_run_goes_on(tmp_path, capsys):
    class Failing:
        def write(self, step: int, numbers: dict[str, float]) -> None:
            raise OSError(28, "No space left on device")

        def rewind(self, step: int) -> None: ...

        def close(self) -> None: ...

    log = RunLog(tmp_path, CONFIG, 0)
    log.sinks["W&B"] = Failing()
    for step in (1, 2):
        log.metric("train", {"step": step, "loss": 1.0})
    log.close()
    assert steps_of(tmp_path) == [1, 2]
    assert capsys.readouterr().err.count("W&B failed") == 1
    (event,) = read_jsonl(tmp_path / "events.jsonl")
    assert (event["event"], event["logger"]) == ("logger_failed", "W&B")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ((), ()),
        (("logging.wandb=offline", "logging.swanlab=local"), ()),
        (("logging.wandb=online",), ("logging.wandb=online", "WANDB_API_KEY", "offline")),
        (("logging.swanlab=cloud",), ("logging.swanlab=cloud", "SWANLAB_API_KEY", "local")),
        (
            ("logging.histograms_every_steps=5", "logging.tensorboard=false"),
            ("histograms_every_steps=5", "logging.tensorboard=true"),
        ),
        (("logging.profile_first_step=9", "logging.profile_last_step=8"), ("profile_last_step=8", "=9")),
        (("logging.profile_last_step=8",), ("profile_last_step=8", "profile_first_step")),
    ],
)
def test_problems_are_told_before_training(tmp_path, overrides, words):
    problems = list(logging_problems(load_config("gpt_tiny_cpu", overrides), {"HOME": str(tmp_path)}))
    assert len(problems) == bool(words)
    assert all(word in problems[0] for word in words)


def test_a_key_in_the_environment_or_in_netrc_is_enough(tmp_path):
    config = load_config("gpt_tiny_cpu", ("logging.wandb=online",))
    assert list(logging_problems(config, {"WANDB_API_KEY": "k", "HOME": str(tmp_path)})) == []
    (tmp_path / ".netrc").write_text("machine wandb.example.org login user password k\n")
    own = {"HOME": str(tmp_path), "WANDB_BASE_URL": "https://wandb.example.org/"}
    assert list(logging_problems(config, own)) == []
    assert len(list(logging_problems(config, {"HOME": str(tmp_path)}))) == 1
