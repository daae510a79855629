"""Where a rollback goes to, what it leaves out, what counts as an attempt, and what is said when none helped."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from test_checkpoint_policy import Ranks, marked, steps_left

from megatron_recipe import checkpoint as checkpoint_module
from megatron_recipe import rollback as module
from megatron_recipe.checkpoint import step_folder
from megatron_recipe.checkpoint_integrity import damage, write_integrity, write_marker
from megatron_recipe.config import Config
from megatron_recipe.errors import StabilityError
from megatron_recipe.recipes import load_config
from megatron_recipe.rollback import WINDOWS_OF_ATTEMPTS, give_up, past_attempts, roll_back, target_of
from megatron_recipe.run_state import RunState
from megatron_recipe.skips import Skips
from megatron_recipe.stability import Verdict

WINDOW = 20
SPIKE = Verdict("rollback", "loss", 9.0, 3.0, 40.0)


@pytest.fixture
def config() -> Config:
    return load_config(
        "gpt_tiny_cpu",
        (f"stability.window_steps={WINDOW}", "stability.skip_past_steps=2", "stability.max_attempts=3"),
    )


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Complete ones of steps 10, 20 … 50."""
    monkeypatch.setattr(checkpoint_module, "first_ranks", lambda value: value)
    monkeypatch.setattr(checkpoint_module, "damage_to_any", damage)
    for step in range(10, 60, 10):
        marked(tmp_path / "checkpoints", step)
    return tmp_path / "checkpoints"


def attempt(at_step: int, from_step: int) -> dict[str, int]:
    return {"first": 0, "stop": 1, "at_step": at_step, "from_step": from_step}


def test_rollbacks_of_the_last_ten_windows_are_attempts(tmp_path, config):
    skips = Skips(tmp_path)
    skips.add(5, 9)  # by the user's word
    skips.add(0, 1, **{"at_step": 100, "from_step": 90})
    skips.add(2, 3, **{"at_step": 300, "from_step": 290})
    assert [entry["at_step"] for entry in past_attempts(skips, config, 301)] == [300]
    reach = WINDOWS_OF_ATTEMPTS * WINDOW
    assert [entry["at_step"] for entry in past_attempts(skips, config, 100 + reach)] == [100, 300]
    assert [entry["at_step"] for entry in past_attempts(skips, config, 101 + reach)] == [300]


def test_a_rollback_from_a_later_step_counts_too(tmp_path, config):
    skips = Skips(tmp_path)
    skips.add(0, 1, **{"at_step": 100, "from_step": 50})
    assert len(past_attempts(skips, config, 60)) == 1  # it fell again before it was back where it fell


def target(checkpoints: Path, attempts: list[dict[str, int]], step: int, config: Config) -> int | None:
    found = target_of(checkpoints, attempts, step, config, Ranks())  # type: ignore[arg-type]
    return int(found.name.removeprefix("step_")) if found else None


@pytest.mark.parametrize(
    ("attempts", "step", "goes_to"),
    [
        ([], 55, 50),
        ([], 50, 40),  # the checkpoint of the accident's own step holds it
        ([], 11, 10),
        ([], 10, None),
        ([attempt(45, 40)], 45, 30),  # fell again: beyond where it went back to
        ([attempt(45, 40)], 43, 30),
        ([attempt(45, 40)], 45 + WINDOW, 30),
        ([attempt(45, 40)], 46 + WINDOW, 50),  # an accident of its own
        ([attempt(45, 40), attempt(46, 30)], 47, 20),
        ([attempt(12, 10)], 13, 10),  # nothing older: the same again
    ],
)
def test_the_checkpoint_to_go_back_to(checkpoints, config, attempts, step, goes_to):
    assert target(checkpoints, attempts, step, config) == goes_to


def test_a_damaged_checkpoint_is_passed_over(checkpoints, config):
    (step_folder(checkpoints, 50) / "integrity.json").unlink()
    assert target(checkpoints, [], 55, config) == 40


class Loaded:
    """Takes the place of `load_checkpoint`: remembers the order of things and puts the state back."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.skips_on_disk: list[tuple[int, int]] = []

    def __call__(self, folder: Path, training: SimpleNamespace, config: Config, vocab_size: int) -> None:
        self.skips_on_disk = [(one.first, one.stop) for one in Skips(self.run_dir).ranges]
        training.state.load_state_dict({"step": 30, "samples": 480, "position": 500, "seconds": 11.0})


@pytest.fixture
def loaded(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> Loaded:
    loaded = Loaded(checkpoints.parent)
    monkeypatch.setattr(module, "load_checkpoint", loaded)
    monkeypatch.setattr(module, "barrier", lambda: None)
    folder = step_folder(checkpoints, 30)
    write_integrity(folder)
    write_marker(folder, {"step": 30, "position": 500})
    return loaded


def rolled_back(loaded: Loaded, config: Config, is_first: bool = True) -> tuple[RunState, Skips, dict[str, object]]:
    training = SimpleNamespace(state=RunState(step=54, samples=864, position=900, seconds=99.0))
    skips = Skips(loaded.run_dir)
    folder = step_folder(loaded.run_dir / "checkpoints", 30)
    facts = roll_back(folder, training, skips, SPIKE, config, 4096, Ranks(is_first))  # type: ignore[arg-type]
    return training.state, skips, facts


def test_a_rollback_leaves_out_all_from_the_checkpoint_past_the_accident(loaded, config):
    state, skips, facts = rolled_back(loaded, config)
    stop = 900 + 2 * config.batch.global_batch_size_samples
    assert skips.entries == [{"first": 500, "stop": stop, "from_step": 30, "at_step": 54, "quantity": "loss"}]
    assert facts == {
        "from_step": 54, "to_step": 30, "skipped_first": 500, "skipped_stop": stop, "attempt": 1, "quantity": "loss",
    }  # fmt: skip
    assert (state.step, state.position, state.seconds) == (30, 500, 99.0)


def test_the_skips_are_on_disk_before_anything_is_loaded(loaded, config):
    rolled_back(loaded, config)
    assert loaded.skips_on_disk == [(500, 932)]


def test_what_was_saved_after_the_checkpoint_is_gone(loaded, config):
    checkpoints = loaded.run_dir / "checkpoints"
    for step in (30, 40):
        (checkpoints / f"weights_{step:08d}").mkdir()
    rolled_back(loaded, config)
    assert steps_left(checkpoints) == [10, 20, 30]
    assert [path.name for path in checkpoints.glob("weights_*")] == ["weights_00000030"]


def test_other_ranks_write_and_delete_nothing(loaded, config):
    _, skips, facts = rolled_back(loaded, config, is_first=False)
    assert facts["to_step"] == 30 and len(skips.entries) == 1
    assert loaded.skips_on_disk == []
    assert steps_left(loaded.run_dir / "checkpoints") == [10, 20, 30, 40, 50]


def test_attempts_are_numbered(loaded, config):
    assert [rolled_back(loaded, config)[2]["attempt"] for _ in range(3)] == [1, 2, 3]


def test_giving_up_says_what_was_tried_and_what_to_look_at(config):
    error = give_up(Path("runs/mine"), SPIKE, 47, [attempt(45, 40), attempt(46, 30)], config)
    assert isinstance(error, StabilityError)
    for part in (
        "step 47: loss 9, 40.0 deviations above the median 3",
        "(step 45 → 40, step 46 → 30)",
        "stability.max_attempts=3",
        "schedule.peak_learning_rate=0.004",
        "megatron-recipe data who runs/mine --step 47",
    ):
        assert part in str(error)


def test_stopping_at_once_claims_no_attempt(config):
    said = str(give_up(Path("runs/mine"), Verdict("stop", "nan", float("nan")), 5, [], config))
    assert "stability says: stop" in said and "rollbacks" not in said and "max_attempts" not in said
