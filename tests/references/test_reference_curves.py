"""Reference curves: what `lab reference` makes of finished runs, what `watch` and `report` say of a run beside one."""

import json
import math
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from megatron_recipe.errors import ConfigError, DataError
from megatron_recipe.lab.reference_command import reference_command
from megatron_recipe.recipes import load_config, recipe_names, write_config
from megatron_recipe.references import Reference, read_reference, reference_names, write_reference
from megatron_recipe.references.comparable import differences, other_text
from megatron_recipe.references.make import band, make_reference
from megatron_recipe.references.standing import LATELY, Standing
from megatron_recipe.report import report_command, write_report
from megatron_recipe.watch import watch_command
from megatron_recipe.watch.curve import SHADE

DOCS = Path(__file__).parents[2] / "docs"
STEPS, EVERY, TOKENS = 400, 5, 4096
MANIFEST = {
    "tokenizer": {}, "counts": {}, "sources": [], "splits": {"train": {"tokens": 9, "sha256": {"bin": "aa"}}},
}  # fmt: skip


def loss_at(step: int, noise: random.Random) -> float:
    return 5.0 + 3.0 * math.exp(-step / 60) + noise.gauss(0, 0.1)


def write_run(folder: Path, seed: int, *overrides: str, last: int = STEPS, shift: float = 0.0) -> Path:
    """A run of the tiny recipe as the trainer leaves it; `shift` is added to its loss, in nats."""
    noise = random.Random(seed)
    own = (f"train.steps={STEPS}", f"train.seed={seed}", f"data.seed={seed}", "data.datasets=datasets/demo")
    write_config(load_config("gpt_tiny_cpu", (*own, *overrides)), folder / "config.yaml")
    environment = {"device": "cpu", "world_size": 1, "parameters": 1_262_720, "git": "abc1234"}
    (folder / "environment.json").write_text(json.dumps(environment))
    steps = range(EVERY, last + 1, EVERY)
    records: list[dict[str, Any]] = [
        {"kind": "train", "step": step, "tokens": TOKENS * step, "loss": loss_at(step, noise) + shift} for step in steps
    ]
    records.append({"kind": "validation", "step": last, "tokens": TOKENS * last, "loss": 5.0 + seed / 100})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    events = [{"event": "start", "time": "2026-11-24T10:00:00+0000"}]
    events += [{"event": "end", "step": last, "time": "2026-11-24T11:00:00+0000"}] if last == STEPS else []
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    return folder


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Three finished runs of three seeds; the working folder is their project's."""
    monkeypatch.chdir(tmp_path)
    Path("datasets/demo").mkdir(parents=True)
    Path("datasets/demo/manifest.json").write_text(json.dumps(MANIFEST))
    return [write_run(Path("runs") / f"seed{seed}", seed) for seed in (1, 2, 3)]


@pytest.fixture
def reference(runs: list[Path]) -> Reference:
    made = make_reference(runs, "tiny")
    write_reference(made, Path("tiny.json"))
    return made


# --- making ---


def test_a_reference_says_what_it_was_made_of(reference: Reference) -> None:
    assert read_reference("tiny.json") == reference
    assert (reference.recipe, reference.overrides) == ("gpt_tiny_cpu", {"train.steps": STEPS})
    assert (reference.seeds, reference.held_out_losses) == ([1, 2, 3], [5.01, 5.02, 5.03])
    assert (reference.tokens_per_step, reference.parameters) == (TOKENS, 1_262_720)
    assert (reference.date, reference.version) == ("2026-11-24", "abc1234")
    assert reference.datasets == [{"name": "demo", "train_tokens": 9, "sha256": "aa"}]
    assert reference.steps == list(range(EVERY, STEPS + 1, EVERY))
    assert reference.tokens == [TOKENS * step for step in reference.steps]
    assert reference.command == (
        f"megatron-recipe train gpt_tiny_cpu --set train.steps={STEPS} --set data.datasets=DATASET "
        "--set train.seed=SEED --set data.seed=SEED"
    )


def test_the_band_holds_its_share_of_runs_that_it_has_not_seen() -> None:
    noise, steps = np.random.default_rng(5), np.arange(1, 201)
    curve = 5 + 3 * np.exp(-steps / 20)
    shares = []
    for _ in range(20):
        found = band(curve + noise.normal(0, 0.1, (3, 200)))
        fresh = curve + noise.normal(0, 0.1, 200)
        shares.append(np.mean((found.low <= fresh) & (fresh <= found.high)))
    assert np.mean(shares) == pytest.approx(0.9, abs=0.03)


def test_the_band_is_as_high_as_the_noise_also_where_the_loss_falls_steeply() -> None:
    noise, steps = np.random.default_rng(6), np.arange(1, 201)
    found = band(5 + 3 * np.exp(-steps / 20) + noise.normal(0, 0.1, (3, 200)))
    assert np.all(found.high - found.low < 6 * 0.1)
    assert np.median(found.high - found.low) == pytest.approx(2 * 1.645 * 0.1, rel=0.2)


def test_runs_that_make_no_reference_are_refused(runs: list[Path]) -> None:
    short = write_run(Path("runs/short"), 4, last=200)
    with pytest.raises(DataError, match=r"runs/short: has not come to its last step.*train --config runs/short/"):
        make_reference([runs[0], short], "x")
    other = write_run(Path("runs/other"), 4, "schedule.peak_learning_rate=0.1")
    with pytest.raises(ConfigError, match=r"seed1 and runs/other differ in schedule.peak_learning_rate; .* alone"):
        make_reference([runs[0], other], "x")
    with pytest.raises(ConfigError, match=r"train.seed=2 in several of the runs"):
        make_reference([runs[1], runs[0], runs[1]], "x")
    with pytest.raises(ConfigError, match=r"one run has no spread"):
        make_reference(runs[:1], "x")
    with pytest.raises(ConfigError, match=r"--out x: must end in .json.*try x.json"):
        reference_command(runs, Path("x"), None, dry_run=False)


def test_dry_run_writes_nothing(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    reference_command(runs, Path("new.json"), None, dry_run=True)
    assert "reference new: gpt_tiny_cpu, train.steps=400; seeds 1, 2, 3; 1,638,400 tokens" in capsys.readouterr().err
    assert not Path("new.json").exists()
    reference_command(runs, Path("new.json"), "mine", dry_run=False)
    assert read_reference("new.json").name == "mine"


# --- reading and comparing ---


def test_every_reference_that_comes_with_the_project_can_be_read() -> None:
    for name in reference_names():
        found = read_reference(name)
        assert found.name == name
        assert found.recipe in recipe_names()
        config = load_config(
            found.recipe, tuple(f"{key}={json.dumps(value)}" for key, value in found.overrides.items())
        )
        assert differences(found, config.model_dump(mode="json"), found.parameters) == []


@pytest.mark.parametrize("page", ["reference_run.md", "reference_run.zh-CN.md"])
def test_the_page_lists_every_reference_that_comes_with_the_project(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    for found in map(read_reference, reference_names()):
        (row,) = re.findall(rf"^\| `{found.name}` \|.*$", text, re.MULTILINE)
        losses = ", ".join(f"{loss:.3f}" for loss in found.held_out_losses if loss is not None)
        assert [fact for fact in (f"{found.tokens[-1]:,}", losses, found.date) if fact not in row] == []


def test_an_unknown_or_damaged_reference_is_refused(reference: Reference) -> None:
    with pytest.raises(ConfigError, match=r"--reference gpt_tiny: no reference of this name.*; there are "):
        read_reference("gpt_tiny")
    with pytest.raises(ConfigError, match=r"--reference no.json: no such file"):
        read_reference("no.json")
    Path("bad.json").write_text("{")
    with pytest.raises(ConfigError, match=r"--reference bad.json: no valid JSON"):
        read_reference("bad.json")
    values = reference.model_dump(mode="json")
    for wrong in ({"low": values["low"][1:]}, {"steps": values["steps"][::-1]}, {"format": 2}):
        Path("bad.json").write_text(json.dumps(values | wrong))
        with pytest.raises(ConfigError, match=r"--reference bad\.json: "):
            read_reference("bad.json")


def test_one_message_says_what_differs(reference: Reference) -> None:
    config = load_config("gpt_tiny_cpu", ("batch.global_batch_size_samples=32", "optimizer.beta2=0.99"))
    found = differences(reference, config.model_dump(mode="json"), None)
    assert found[0] == "tokens a step 8,192 here and 4,096 there"
    assert "optimizer.beta2 0.99 here and 0.95 there" in found
    assert "train.steps 450 here and 400 there" in found
    same = load_config("gpt_tiny_cpu", (f"train.steps={STEPS}", "precision.dtype=bf16", "train.log_every_steps=1"))
    assert differences(reference, same.model_dump(mode="json"), 1_262_720) == []
    assert "another vocabulary" in differences(reference, same.model_dump(mode="json"), 1_500_000)[0]
    budget = load_config("gpt_tiny_cpu", (f"train.steps={STEPS}", "budget.amount=3", "budget.unit=hours"))
    assert differences(reference, budget.model_dump(mode="json"), None)[0].startswith("budget.amount 3.0 here and not")


def test_other_text_is_only_what_is_known_to_be(reference: Reference) -> None:
    assert other_text(reference, [{"name": "demo", "sha256": "bb"}])
    assert not other_text(reference, [{"name": "demo", "sha256": "aa"}])
    assert not other_text(reference, [{"name": "gone"}])


# --- standing ---


def test_records_are_counted_by_where_they_lie(reference: Reference) -> None:
    standing = Standing(reference)
    assert (standing.inside, standing.lately) == (None, None)
    for index, step in enumerate(reference.steps[:20]):
        standing.add(step, reference.median[index])
    assert (standing.records, standing.inside, standing.lately) == (20, 1.0, "inside")
    for index in range(20, 20 + LATELY // 2):
        standing.add(reference.steps[index], reference.high[index] + 0.01)
    assert (standing.inside, standing.lately) == (0.8, "above")
    standing.add(reference.steps[20], reference.median[20])  # a rollback: what lies behind it is void
    assert (standing.records, standing.lately) == (21, "inside")
    standing.add(reference.steps[-1] + 1, 0.0)
    assert standing.records == 21
    standing.add(reference.steps[21], math.nan)
    assert standing.inside == pytest.approx(21 / 22)


def test_between_two_points_the_band_is_a_straight_line(reference: Reference) -> None:
    low, high = reference.band_at(7.5) or (0.0, 0.0)
    assert low == pytest.approx((reference.low[0] + reference.low[1]) / 2)
    assert high == pytest.approx((reference.high[0] + reference.high[1]) / 2)
    assert reference.band_at(5) == (reference.low[0], reference.high[0])
    assert reference.band_at(STEPS) == (reference.low[-1], reference.high[-1])
    assert (reference.band_at(4), reference.band_at(STEPS + 1)) == (None, None)


# --- drawing ---


def without_dataset() -> None:
    """The report of a run whose dataset is gone needs less of a manifest."""
    Path("datasets/demo/manifest.json").unlink()


def frame_of(run: Path, reference: str, capsys: pytest.CaptureFixture[str], lang: str = "en") -> str:
    watch_command(run, True, lang, 2.0, reference)
    return capsys.readouterr().out


@pytest.mark.usefixtures("reference")
def test_watch_draws_the_band_and_says_where_the_run_stands(capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(Path("runs/mine"), 9, last=200)
    text = frame_of(run, "tiny.json", capsys)
    assert re.search(r"loss  ░ tiny", text)
    assert re.search(r"reference +\d\d% of 40 records in the band \(90% are usual\)  inside lately", text)
    rows = [line.split("learning rate")[0][8:44] for line in text.splitlines() if SHADE in line and "tiny" not in line]
    assert any(row.rstrip().endswith(SHADE) for row in rows), "the way that lies ahead"
    worse = write_run(Path("runs/worse"), 9, last=200, shift=1.0)
    assert "lately above it" in frame_of(worse, "tiny.json", capsys)
    assert "近来在带上方" in frame_of(worse, "tiny.json", capsys, "zh")
    assert SHADE not in frame_of(worse, "", capsys)


@pytest.mark.usefixtures("reference")
def test_another_kind_of_run_is_not_drawn_beside_it() -> None:
    run = write_run(Path("runs/mine"), 9, "schedule.peak_learning_rate=0.1")
    without_dataset()
    wanted = r"--reference tiny: runs/mine is another kind of run: schedule.peak_learning_rate 0.1 here and 0.004 there"
    with pytest.raises(ConfigError, match=wanted):
        watch_command(run, True, "en", 2.0, "tiny.json")
    for dry_run in (True, False):
        with pytest.raises(ConfigError, match=wanted):
            report_command(run, "en", None, dry_run, reference="tiny.json")
    with pytest.raises(ConfigError, match=r"--reference tiny\.json is for the report of a run"):
        report_command(run, "en", None, False, retrospective=True, reference="tiny.json")


@pytest.mark.usefixtures("reference")
@pytest.mark.parametrize(
    ("lang", "said"), [("en", "lie in its band (90% are usual)"), ("zh", "落在带内（通常为 90%）")]
)
def test_the_report_draws_the_band(lang: str, said: str) -> None:
    run = write_run(Path("runs/mine"), 9)
    without_dataset()
    page = write_report(run, lang=lang, reference="tiny.json").read_text(encoding="utf-8")
    assert page.count('id="loss860-band"') == page.count('id="loss380-band"') == 1
    assert said in page
    assert "-band" not in write_report(run, lang=lang).read_text(encoding="utf-8")


def test_a_reference_fits_a_terminal(reference: Reference, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(Path("runs/mine"), 9, last=200)
    for lang in ("en", "zh"):
        lines = frame_of(run, "tiny.json", capsys, lang).splitlines()
        assert max(Console().measure(line).maximum for line in lines) <= 80
