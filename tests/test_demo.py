"""The whole way on a user's own small corpus: interrupted twice, finished, and quick when it is done."""

import json
import random
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from commands import interrupt, megatron_recipe, recipe_command, sets
from small_runs import MODEL, records

STEPS = 40
INTERRUPTED = 130


def write_corpus(path: Path) -> Path:
    """300 documents, English and Chinese in turn, of sentences made from a few hundred words."""
    generator = random.Random(0)
    english = ["".join(generator.choices("etaoinshrdlu", k=generator.randrange(2, 8))) for _ in range(300)]
    chinese = ["".join(chr(generator.randrange(0x4E00, 0x4F00)) for _ in range(2)) for _ in range(300)]
    with path.open("w", encoding="utf-8") as file:
        for number in range(300):
            words, space, stop = (english, " ", ".\n") if number % 2 else (chinese, "", "。")
            sentences = (space.join(generator.choices(words, k=9)).capitalize() + stop for _ in range(15))
            # the id decides what is held out: without one it would be the file's path, which differs from run to run
            record = {"id": str(number), "text": "".join(sentences), "source": f"made {number % 2}"}
            file.write(json.dumps(record) + "\n")
    return path


class Demo:
    """The command, its folder, and what each start of it ended with."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.run = folder, folder / "runs/mine"
        overrides = sets(
            *MODEL,
            f"train.steps={STEPS}",
            "train.log_every_steps=1",
            "train.validate_every_steps=20",
            "train.validation_samples=32",
            "checkpoint.save_every_steps=20",
        )
        source = write_corpus(folder / "corpus.jsonl")
        self.arguments = ["demo", "--source", source, "--name", "mine", "--vocab-size", 600, *overrides]

    def interrupted_when(self, when) -> subprocess.CompletedProcess[str]:
        return interrupt(recipe_command(self.arguments), self.folder, when, signal.SIGINT)

    def finished(self) -> subprocess.CompletedProcess[str]:
        return megatron_recipe(*self.arguments, cwd=self.folder)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return Demo(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def stopped_in_data(demo: Demo) -> subprocess.CompletedProcess[str]:
    return demo.interrupted_when(lambda: (demo.folder / "work/mine/.2_clean.partial").exists())


@pytest.fixture(scope="module")
def stopped_in_training(demo: Demo, stopped_in_data) -> subprocess.CompletedProcess[str]:
    return demo.interrupted_when(lambda: len(records(demo.run, "train")) > 2)


@pytest.fixture(scope="module")
def finished(demo: Demo, stopped_in_training) -> subprocess.CompletedProcess[str]:
    return demo.finished()


def without_progress(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if not line.startswith(("[", "      "))]


def test_ctrl_c_in_a_data_stage_is_one_line(demo, stopped_in_data):
    assert stopped_in_data.returncode == INTERRUPTED, stopped_in_data.stderr
    assert without_progress(stopped_in_data.stderr) == ["interrupted; run the same command again to continue"]
    assert not (demo.folder / "work/mine/2_clean").exists()


@pytest.mark.slow
def test_ctrl_c_in_training_saves_and_says_how_to_go_on(demo, stopped_in_training):
    assert stopped_in_training.returncode == INTERRUPTED, stopped_in_training.stderr
    said = without_progress(stopped_in_training.stderr)
    assert said[0].startswith("SIGINT: saving a checkpoint after this step")
    assert said[-1] == "stopped in train; `make demo` continues there"
    assert "collect\n" in stopped_in_training.stderr and "(done before)" in stopped_in_training.stderr


@pytest.mark.slow
def test_the_next_start_goes_the_rest_of_the_way(demo, finished):
    assert finished.returncode == 0, finished.stderr
    assert f"continuing {Path('runs/mine')} after step" in finished.stderr
    assert [record["step"] for record in records(demo.run, "train")] == list(range(1, STEPS + 1))
    assert f"The report: {demo.run / 'report.html'}" in finished.stderr
    assert finished.stderr.count("megatron-recipe ") >= 3, "three commands to try next"


@pytest.mark.slow
def test_the_model_learned_and_its_export_is_proved(demo, finished):
    losses = [record["loss"] for record in records(demo.run, "train")]
    assert losses[-1] < losses[0] - 0.5
    export = json.loads((demo.folder / "exports/mine/export.json").read_text(encoding="utf-8"))
    proof = export["comparison"]
    assert proof["passed"] and proof["max_abs_difference"] < 1e-4 and proof["top1_agreement"] == 1
    held_out = sum(1 for _ in (demo.folder / "datasets/mine/validation.jsonl").open(encoding="utf-8"))
    assert export["tokenizer"] == {"documents": held_out, "ids_equal": True}
    perplexity = json.loads((demo.run / "eval/perplexity.json").read_text(encoding="utf-8"))
    assert {part["language"] for part in perplexity["by_source"]} >= {"zh"}
    last_validation = records(demo.run, "validation")[-1]["loss"]
    assert perplexity["splits"]["validation"]["loss"] == pytest.approx(last_validation, rel=0.1)


@pytest.mark.slow
def test_the_report_holds_the_numbers_of_the_run(demo, finished):
    page = (demo.run / "report.html").read_text(encoding="utf-8")
    samples = json.loads((demo.run / "eval/samples.json").read_text(encoding="utf-8"))["samples"]
    assert "<html" in page and samples
    perplexity = json.loads((demo.run / "eval/perplexity.json").read_text(encoding="utf-8"))
    split = perplexity["splits"]["validation"]
    assert f"{split['loss']:.3f}" in page and f"{split['unigram_loss']:.3f}" in page


@pytest.mark.slow
def test_all_is_done_before_and_quick_the_second_time(demo, finished):
    started = time.monotonic()
    again = demo.finished()
    seconds = time.monotonic() - started
    assert again.returncode == 0, again.stderr
    assert again.stderr.count("(done before)") >= 6
    assert len(records(demo.run, "train")) == STEPS and seconds < 40


def test_a_dry_run_says_the_steps_and_makes_nothing(tmp_path):
    result = megatron_recipe("demo", "--dry-run", cwd=tmp_path)
    assert result.returncode == 0
    assert "collect → clean → deduplicate → train tokenizer → write dataset → train → export → evaluate → report" in (
        result.stderr
    )
    assert list(tmp_path.iterdir()) == []


def test_the_line_about_training_needs_no_validation(tmp_path, monkeypatch):
    """`train.validation_samples=0` is a setting like any other."""
    from megatron_recipe import train
    from megatron_recipe.demo import train_step
    from megatron_recipe.preemption import StopRequest

    monkeypatch.setattr(train, "train", lambda config, run_dir: StopRequest(0.0, 0.0))
    record = {"kind": "train", "step": 1, "tokens": 4096, "seconds": 2.4, "loss": 8.316}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    assert train_step(SimpleNamespace(config=None, run_dir=tmp_path)) == (
        "4,096 tokens in 2 s; training loss 8.32 → 8.32"
    )
