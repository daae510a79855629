"""Suites, references and local questions: what can be checked without lm-eval."""

import json
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eval.download import SETS
from eval.local_data import LocalData, balanced
from eval.score_table import WORDS, table_lines, verdict
from eval.suites import benchmarks, choose, named, references
from megatron_recipe.errors import ConfigError, DataError


def test_every_benchmark_can_be_downloaded_with_the_splits_it_needs():
    for one in benchmarks().values():
        found = SETS[one.download or one.name]
        assert set(one.splits) <= {"validation", *found.splits}
        assert one.examples is None or one.examples in found.splits
        assert one.shots == 0 or one.examples


def test_suites_and_single_tasks():
    assert [one.name for one in choose(["knowledge"], ["piqa", "mmlu_light"])] == ["mmlu_light", "piqa"]
    assert len(choose(["core"], [])) == 6
    for suites, tasks, message in ((["cor"], [], "--suite cor"), ([], ["mmul"], "--task mmul"), ([], [], "nothing")):
        with pytest.raises(ConfigError, match=message):
            choose(suites, tasks)


def test_suites_and_tasks_may_stand_in_one_list():
    assert [one.name for one in named(["piqa", "zh", "piqa"], "evaluation.tasks")] == ["ceval", "cmmlu", "piqa"]
    with pytest.raises(ConfigError, match=r"^evaluation.tasks: arc is not known; suites are core, .*arc_easy"):
        named(["arc"], "evaluation.tasks")


def test_published_scores_have_a_source_and_are_of_known_benchmarks():
    assert {one.model for one in references("hellaswag")} >= {"Pythia-1B", "OLMo-1B", "MobileLLM-1B", "Llama-3.2-1B"}
    assert references("mmlu_light") == references("mmlu") != []
    assert references("cmmlu") == []
    assert all(one.source and 0 < one.score < 100 for name in benchmarks() for one in references(name))


ROWS = [{"subject": "anatomy", "answer": 0}, {"subject": "astronomy", "answer": 1}]


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".arrow":
        table = pa.Table.from_pylist(rows)
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table)
    elif path.suffix == ".csv":
        path.write_text("subject,answer\n" + "".join(f"{row['subject']},{row['answer']}\n" for row in rows))
    else:
        path.write_text("\n".join(map(json.dumps, rows)))


@pytest.mark.parametrize(
    "place",
    [
        "mmlu/all/{split}-00000-of-00001.parquet",
        "mmlu/{subject}/{split}/0000.parquet",
        "hails/mmlu_no_train/{subject}/{split}/data-00000-of-00001.arrow",
        "mmlu/{split}/{subject}.csv",
        "mmlu/{split}/{subject}_{split}.csv",
        "mmlu/{split}.jsonl",
    ],
)
def test_questions_are_found_in_every_layout(tmp_path, place):
    for split in ("test", "dev"):
        if "{subject}" in place:
            for row in ROWS:
                write_rows(tmp_path / place.format(split=split, subject=row["subject"]), [row])
        else:
            write_rows(tmp_path / place.format(split=split), ROWS)
    (tmp_path / place.split("/")[0] / "dataset_info.json").write_text("{}")
    data = LocalData(benchmarks()["mmlu"], tmp_path)
    assert data.splits == ["test", "dev"]
    for split in data.splits:
        for row in ROWS:
            (found,) = data.rows(split, row["subject"])
            assert (found["subject"], str(found["answer"])) == (row["subject"], str(row["answer"]))
    with pytest.raises(DataError, match="no question of virology in split test"):
        data.rows("test", "virology")


def test_a_missing_file_is_named_with_where_it_comes_from(tmp_path):
    write_rows(tmp_path / "mmlu/all/test.parquet", ROWS)
    with pytest.raises(DataError, match=r"mmlu_light: no .* split dev in .*eval download mmlu --out .* cais/mmlu"):
        LocalData(benchmarks()["mmlu_light"], tmp_path)


def test_the_split_is_the_first_that_is_there(tmp_path):
    write_rows(tmp_path / "arc_easy/ARC-Easy/validation-00000-of-00001.parquet", ROWS)
    assert LocalData(benchmarks()["arc_easy"], tmp_path).split == "validation"
    write_rows(tmp_path / "arc_easy/ARC-Easy/test-00000-of-00001.parquet", ROWS)
    assert LocalData(benchmarks()["arc_easy"], tmp_path).split == "test"


def test_a_balanced_part_has_as_many_of_each_answer_from_everywhere():
    answers = [0, 0, 1] * 20 + [2] * 3
    chosen = balanced(answers, 5)
    assert [[answers[i] for i in chosen].count(answer) for answer in (0, 1, 2)] == [5, 5, 3]
    assert chosen == sorted(chosen) == balanced(answers, 5)
    assert max(i for i in chosen if answers[i] == 1) > 40


def test_the_table_says_whether_a_score_is_chance():
    entry = {
        "score": 0.30,
        "stderr": 0.02,
        "chance": 0.25,
        "questions": 1000,
        "of": 2000,
        "shots": 0,
        "split": "validation",
    }
    assert verdict(entry) == "above" and verdict({**entry, "stderr": 0.03}) == "not_above"
    assert verdict({**entry, "score": 0.0, "stderr": 0.0, "questions": 6}) == "not_above"  # 18 % of guessers
    one = {**entry, "stderr": None, "questions": 1}
    assert "30.00 ± –" in table_lines({"tasks": {"arc_easy": one}}, ["arc_easy"], "en")[1]
    assert verdict({**entry, "score": 0.2}) == "below"
    for lang, words in WORDS.items():
        lines = table_lines({"tasks": {"arc_easy": entry}}, ["arc_easy"], lang)
        assert "30.00 ± 2.00" in lines[1] and words["above"] in lines[1] and words["references"] in lines
        assert words["split"].format(split="validation", usual="test") in lines[1]
        assert any("TinyLlama-1.1B" in line and "55.25" in line for line in lines)
    with pytest.raises(ConfigError, match="--lang=fr"):
        table_lines({"tasks": {}}, [], "fr")


def test_dry_runs_load_no_heavy_library(model_dir, dataset, tmp_path):
    write_rows(tmp_path / "hellaswag/validation.jsonl", ROWS)
    commands = [
        ["perplexity", str(model_dir), "--dataset", str(dataset), "--dry-run"],
        ["generate", str(model_dir), "--dry-run"],
        ["run", str(model_dir), "--task", "hellaswag", "--data-dir", str(tmp_path), "--dry-run"],
    ]
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom eval.cli import app\n"
        f"for words in {commands!r}:\n"
        "    result = CliRunner().invoke(app, words)\n"
        "    assert result.exit_code == 0 and 'would' in result.stderr, result.output\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout.split()) & {"torch", "transformers", "lm_eval", "datasets", "numpy", "pyarrow", "jinja2"}
