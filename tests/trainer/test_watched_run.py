"""A real run, stopped and continued, as all that look at it have seen it."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from commands import recipe_command, run_warm
from small_runs import arguments, records
from wandb_files import logged_numbers, wandb_history
from webhook_server import Service

from megatron_recipe.files import read_jsonl
from megatron_recipe.messages import HEARTBEAT, WEBHOOK

SECRET = "tops3cret-t0ken-0123456789"
SETTINGS = (
    "logging.tensorboard=true",
    "logging.histograms_every_steps=2",
    "logging.profile_first_step=2",
    "logging.profile_last_step=3",
    "budget.price_per_hour=5",
)
WANDB = ("logging.wandb=offline",) if find_spec("wandb") else ()

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def watched(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[tuple[str, str, dict]], str]:
    """Run folder, requests that the services got, and what stood on the console, of 4 steps and 4 more."""
    run_dir = tmp_path_factory.mktemp("watched") / "my_run"
    console = ""
    with Service(f"/{SECRET}") as chat, Service(f"/beat/{SECRET}") as watchdog:
        addresses = {WEBHOOK: chat.address, HEARTBEAT: watchdog.address}
        for last in (4, 8):
            settings = arguments(dataset, run_dir, *SETTINGS, *WANDB, f"train.stop_at_step={last}")
            done = run_warm(recipe_command(["train", "gpt_tiny_cpu", *settings]), run_dir.parent, **addresses)
            assert done.returncode == 0, done.stderr
            console += done.stdout + done.stderr
        return run_dir, [*chat.requests, *watchdog.requests], console


def test_every_record_has_what_was_measured(watched):
    train = records(watched[0], "train")
    assert [record["step"] for record in train] == list(range(1, 9))
    for record in train:
        assert record["data_wait_seconds"] >= 0
        assert record["host_memory_used_gb"] > 0
        assert record["eta_seconds"] > 0
        assert record["mfu_full"] is None  # a CPU has no peak in the table
    costs = [record["cost_so_far"] for record in train]
    assert costs == sorted(costs)
    assert costs[0] > 0


def test_tensorboard_and_wandb_hold_the_numbers_of_metrics_jsonl(watched):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    numbers = logged_numbers(watched[0])
    if WANDB:
        assert wandb_history(watched[0]) == numbers
    events = EventAccumulator(str(watched[0] / "tensorboard"), size_guidance={"scalars": 0, "histograms": 0})
    events.Reload()
    scalars = {(tag, entry.step): entry.value for tag in events.Tags()["scalars"] for entry in events.Scalars(tag)}
    wanted = {(tag, row["step"]): value for row in numbers for tag, value in row.items() if tag != "step"}
    assert set(scalars) == set(wanted)
    assert [scalars[key] for key in wanted] == pytest.approx(list(wanted.values()), rel=1e-6)
    assert [entry.step for entry in events.Histograms("gradients/linear_fc1")] == [2, 4, 6, 8]


def test_people_are_told_and_the_watchdog_is_fed(watched):
    bodies = [body for method, _, body in watched[1] if method == "POST"]
    assert [body["event"] for body in bodies] == ["start", "end", "resume", "end"]
    assert {body["run"] for body in bodies} == {"my_run"}
    assert [method for method, _, _ in watched[1]].count("GET") == 2  # one each, and the next after five minutes


def test_the_wanted_steps_are_profiled_once(watched):
    traces = [path.name for path in (watched[0] / "profile").glob("trace_*")]
    assert traces == ["trace_rank0_steps_2_3.json.gz"]


def test_no_file_and_no_line_holds_an_address(watched):
    run_dir, requests, console = watched
    assert any(SECRET in path for _, path, _ in requests)
    assert SECRET not in console
    holding = [path for path in run_dir.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert holding == []
    assert not [event for event in read_jsonl(run_dir / "events.jsonl") if event["event"] == "logger_failed"]
