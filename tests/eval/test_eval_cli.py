"""The commands of `megatron-recipe eval`."""

import json

from typer.testing import CliRunner

from eval.cli import app
from megatron_recipe.errors import CheckpointError, ConfigError, DataError

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
