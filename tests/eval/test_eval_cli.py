"""The commands of `megatron-recipe eval`."""

import json
import shutil

from typer.testing import CliRunner

from eval.cli import app
from eval.validation_sets import parse_sets
from megatron_recipe.errors import CheckpointError, ConfigError, DataError, MachineError

runner = CliRunner()


def invoke(*arguments: object):
    return runner.invoke(app, [str(argument) for argument in arguments])


def test_perplexity_writes_its_json_and_says_the_result(model_dir, dataset, tmp_path):
    out = tmp_path / "eval/perplexity.json"
    result = invoke("perplexity", model_dir, "--dataset", dataset, "--out", out, "--max-tokens", 2000)
    assert result.exit_code == 0, result.output
    content = json.loads(out.read_text(encoding="utf-8"))
    assert content["model"] == content["folder"] == str(model_dir)
    assert f"{content['splits']['validation']['loss']:.4f} nats" in result.stderr and "unigram" in result.stderr
    assert result.stdout == ""


def test_without_out_the_json_goes_to_standard_output(model_dir, dataset):
    result = invoke("generate", model_dir, "--prompt", "训练", "--max-new-tokens", 3, "--seed", 7)
    samples = json.loads(result.stdout)["samples"]
    assert [(sample["prompt"], sample["seed"]) for sample in samples] == [("训练", 7)] * 2


def test_dry_runs_compute_nothing(model_dir, dataset, tmp_path):
    out = tmp_path / "out.json"
    result = invoke("perplexity", model_dir, "--dataset", dataset, "--out", out, "--dry-run")
    assert result.exit_code == 0 and "27 documents" in result.stderr
    result = invoke("generate", model_dir, "--out", out, "--dry-run")
    assert result.exit_code == 0 and "would continue" in result.stderr
    assert not out.exists()


def test_mistakes_are_user_errors(model_dir, dataset, tmp_path):
    cases = [
        (("perplexity", tmp_path, "--dataset", dataset, "--dry-run"), CheckpointError),
        (("perplexity", model_dir, "--dataset", tmp_path, "--dry-run"), DataError),
        (("generate", tmp_path, "--dry-run"), CheckpointError),
        (("generate", model_dir, "--prompts", tmp_path / "none.jsonl"), DataError),
        (("generate", model_dir, "--prompts", tmp_path / "none.jsonl", "--prompt", "a"), ConfigError),
    ]
    for arguments, error in cases:
        result = invoke(*arguments)
        assert isinstance(result.exception, error), (arguments, result.output)


def test_a_place_that_cannot_be_written_is_said_before_anything_is_computed(model_dir, dataset, tmp_path):
    for place in (tmp_path, tmp_path / "file" / "out.json"):
        (tmp_path / "file").write_text("")
        for words in (("perplexity", model_dir, "--dataset", dataset), ("run", model_dir, "--task", "piqa")):
            result = invoke(*words, "--out", place, "--dry-run")
            assert isinstance(result.exception, MachineError) and "name a file in a place" in str(result.exception)


def test_damaged_exports_and_texts_are_one_message(model_dir, dataset, tmp_path):
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        folder = shutil.copytree(model_dir, tmp_path / f"without_{name}")
        (folder / name).write_bytes((folder / name).read_bytes()[:100])
        result = invoke("perplexity", folder, "--dataset", dataset)
        assert isinstance(result.exception, CheckpointError) and "transformers cannot load it" in str(result.exception)
    for text, reason in (
        ('{"text": null}', "text is NoneType"),
        ('{"text": 5}', "text is int"),
        ('{"text": ""}', "no text"),
    ):
        (tmp_path / "a.jsonl").write_text(text)
        result = invoke("perplexity", model_dir, "--dataset", tmp_path / "a.jsonl")
        assert isinstance(result.exception, DataError) and reason in str(result.exception)


def test_a_line_separator_inside_a_text_ends_no_line(model_dir, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "First\u2028second \u0085 third"}\n', encoding="utf-8")
    result = invoke("perplexity", model_dir, "--dataset", tmp_path / "a.jsonl", "--out", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "out.json").read_text())["splits"]["a"]["documents"] == 1


def test_the_dataset_beside_another_text_is_the_one_that_reports_read(model_dir, dataset, tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "First"}\n')
    sets = parse_sets([str(dataset), str(tmp_path / "a.jsonl")])
    assert list(sets) == ["validation", "a"]
