"""The ledger: the task of the day, what is done and by what, time and money; and the command around it."""

import json
import shutil
from datetime import date
from pathlib import Path

import pytest
from commands import megatron_recipe, processor_seconds, recipe_command
from made_month import BEGINS, ledger_of, write

from megatron_recipe.month.output import as_values
from megatron_recipe.month.show import Asked, show

HOUR = 3600.0


def asked(folder: Path, **changes: object) -> Asked:
    values = {"lang": "en", "folder": folder, "show_all": False, "quiz": False, "as_json": False, "dry_run": False}
    values |= {"done": None, "budget": None, "price": None, "values": {}}
    return Asked(**{**values, **changes})  # type: ignore[arg-type]


def test_the_task_of_the_day_is_the_first_open_one(month_folder: Path) -> None:
    ledger = ledger_of(month_folder)
    assert ledger.current is not None and ledger.current.task.id == "account"
    later = ledger_of(month_folder, said={"account": BEGINS})
    assert later.current is not None and later.current.task.id == "demo"  # doctor's file is there
    done = {entry.task.id for entry in later.entries if entry.is_done}
    assert {"doctor", "prepare", "exact", "minhash", "simhash", "model", "three-checkpoints", "perplexity"} <= done
    assert not {"demo", "download", "hellaswag-zh", "story", "small-run", "six-records"} & done


def test_evidence_alone_is_not_enough_where_a_word_is_asked_for(month_folder: Path) -> None:
    def state(**changes: object) -> tuple[bool, list[str]]:
        ledger = ledger_of(month_folder, **changes)
        entry = next(one for one in ledger.entries if one.task.id == "first-steps")
        return entry.is_done, entry.missing

    assert state() == (False, [])
    assert state(said={"first-steps": BEGINS}) == (True, [])


def test_a_word_alone_is_not_enough_where_evidence_is_asked_for(tmp_path: Path) -> None:
    ledger = ledger_of(tmp_path, said={"tensorboard": BEGINS, "account": BEGINS})
    assert [entry.task.id for entry in ledger.entries if entry.is_done] == ["account"]


def test_the_calendar(tmp_path: Path) -> None:
    assert ledger_of(tmp_path, BEGINS).week_by_calendar == 0
    assert ledger_of(tmp_path, date(2026, 11, 12)).week_by_calendar == 2
    assert len(ledger_of(tmp_path, BEGINS).behind) == 0
    assert {entry.task.id for entry in ledger_of(tmp_path, date(2026, 11, 2)).behind} == {"account", "doctor", "demo"}
    short = ledger_of(tmp_path, BEGINS, ends=date(2026, 11, 15))
    assert max(short.due_day(entry.task) for entry in short.entries) == short.month.days == 15


def test_money_is_counted_by_currency_and_price(tmp_path: Path) -> None:
    def spending(place: str, *entries: tuple[float, float, str]) -> None:
        instances = [{"seconds": s, "price_per_hour": p, "currency": c} for s, p, c in entries]
        write(tmp_path / place / "spending.json", {"instances": instances})

    spending("runs/a", (HOUR, 10.0, "cny"), (HOUR, 0.0, "cny"))
    spending("comparisons/x/runs/b-seed1", (2 * HOUR, 5.0, "cny"))
    spending("incidents/lr-x10/remedy", (HOUR, 2.0, "usd"))
    spent = ledger_of(tmp_path).spent
    assert (spent.runs, spent.hours, spent.money, spent.unpriced_hours, spent.other) == (3, 5.0, 20.0, 1.0, 2.0)


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_page_says_task_command_money_and_evidence(
    month_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], lang: str
) -> None:
    root = Path(shutil.copytree(month_folder, tmp_path / "month"))
    for _ in range(2):
        values = {"begins": str(BEGINS), "scale": "miniature"}
        show(asked(root, lang=lang, price="14.5/h", budget="4000cny", values=values, done="account"), BEGINS)
    shown = capsys.readouterr().out
    for text in ("[demo]", "megatron-recipe demo", "runs/demo", "4,000.00", "notes/doctor.json", "■"):
        assert text in shown, text
    show(asked(root, lang=lang, show_all=True), BEGINS)
    ledger = capsys.readouterr().out
    for text in ("[quiz]", "11,340", "9.310", "0.218", "41.2%", "2026-11-01"):
        assert text in ledger, text


def test_json_holds_the_same(month_folder: Path) -> None:
    ledger = ledger_of(month_folder)
    content = json.loads(json.dumps(as_values(ledger, "zh")))
    assert content["today"] == "account"
    task = next(one for one in content["tasks"] if one["id"] == "prepare")
    assert task["done"] and task["evidence"][0]["values"]["kept"] == 7_358
    assert [one["kind"] for one in content["figures"]][:2] == ["speed", "spike_rolled_back"]


def test_a_dry_run_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    show(asked(tmp_path, dry_run=True))
    assert "[account]" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lang", "fr"], "--lang=fr"),
        (["--done", "acount"], "did you mean 'account'?"),
        (["--done", "doctor"], "done when its evidence is found"),
        (["--begins", "2026-13-01"], "not a date"),
        (["--begins", "2026-11-25", "--ends", "2026-11-01"], "is before begins"),
        (["--budget", "30h"], "is money"),
        (["--budget", "40usd", "--price", "3/h"], "two currencies"),
        (["--quiz", "--all"], "give one of them"),
        (["--folder", "nowhere"], "there is no such folder"),
    ],
)
def test_a_wrong_option_gets_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    from typer.testing import CliRunner

    from megatron_recipe.cli import app

    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["today", *options])
    assert message in str(result.exception)
    assert type(result.exception).__module__ == "megatron_recipe.errors"
    assert list(tmp_path.iterdir()) == []


def test_the_command_is_quick_and_a_damaged_file_ends_it_with_2(tmp_path: Path) -> None:
    seconds = processor_seconds(recipe_command(["today"]), tmp_path)
    assert seconds < 1.0
    assert {path.name for path in tmp_path.iterdir()} == {"month.yaml", "notes"}
    (tmp_path / "month.yaml").write_text("{")
    result = megatron_recipe("today", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("error: month.yaml: not valid YAML") and result.stderr.count("\n") == 1
