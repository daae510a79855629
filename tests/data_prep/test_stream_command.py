"""`data stream` against a hub: fetched, tokenized and deleted file by file, and continued after a stop."""

import json
from functools import partial

import pytest
from hub_server import FakeHub
from made_texts import make_document
from typer.testing import CliRunner

from data_prep.cli import app
from data_prep.download.patience import Patience
from data_prep.verify import verify
from megatron_recipe.errors import ConfigError, MachineError

REPO = "Skywork/SkyPile-150B"
FILES, DOCUMENTS = 4, 50


@pytest.fixture
def hub():
    with FakeHub() as hub:
        for number in range(FILES):
            texts = [make_document(100 * number + i, "zh") for i in range(DOCUMENTS)]
            lines = [json.dumps({"text": text}, ensure_ascii=False) for text in texts]
            hub.repos.setdefault(REPO, {})[f"data/2020-40_zh_head_000{number}.jsonl"] = "\n".join(lines).encode()
        yield hub


def stream(hub, tokenizer, folder, *options):
    out = ["--out", folder / "datasets" / "sky", "--tokenizer", tokenizer.path, "--mirror", hub.address]
    settings = ["--recipe", "documents", "--workers", 1, "--set", "dataset.validation_share=0.1"]
    arguments = ["stream", "skypile", *out, *settings, *options]
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_a_dataset_without_its_text_ever_being_there_whole(hub, tokenizer, tmp_path):
    result = stream(hub, tokenizer, tmp_path)
    assert result.exit_code == 0, result.output
    assert f"{FILES * DOCUMENTS} documents" in verify(tmp_path / "datasets" / "sky")
    assert not list(tmp_path.rglob("*.jsonl.*")) and not list(tmp_path.rglob("2020*"))
    (source,) = json.loads((tmp_path / "datasets" / "sky" / "manifest.json").read_text())["sources"]
    assert (source["name"], source["category"], source["language"]) == ("skypile", "web", "zh")


def test_a_stream_that_an_error_stopped_fetches_only_the_rest(hub, tokenizer, tmp_path, monkeypatch):
    quick = Patience(max_failures=3, first_wait_seconds=0.01)
    monkeypatch.setattr(Patience, "after", partial(Patience.after, quick))
    third = "data/2020-40_zh_head_0002.jsonl"
    hub.faults[third] = ["error"] * 50
    with pytest.raises(MachineError, match="503"):
        stream(hub, tokenizer, tmp_path)
    hub.faults[third] = []
    before = hub.sent["data/2020-40_zh_head_0000.jsonl"]
    assert stream(hub, tokenizer, tmp_path).exit_code == 0
    assert hub.sent["data/2020-40_zh_head_0000.jsonl"] == before > 0
    assert f"{FILES * DOCUMENTS} documents" in verify(tmp_path / "datasets" / "sky")


def test_a_limit_of_tokens_and_a_dry_run(hub, tokenizer, tmp_path):
    listed = stream(hub, tokenizer, tmp_path, "--dry-run")
    assert listed.stdout.count("zh_head") == FILES
    assert not (tmp_path / "datasets").exists() and not hub.sent
    assert stream(hub, tokenizer, tmp_path, "--max-tokens", 100).exit_code == 0
    assert f"{DOCUMENTS} documents" in verify(tmp_path / "datasets" / "sky")


def test_a_set_that_no_program_can_fetch_is_not_streamed(tokenizer):
    with pytest.raises(ConfigError, match="wanjuan cannot be streamed: "):
        CliRunner().invoke(app, ["stream", "wanjuan", "--tokenizer", str(tokenizer.path)], catch_exceptions=False)
