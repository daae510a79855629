"""Every figure of the comparison computed again by hand, and the command from text to recommendation."""

import json
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_texts import CHINESE, ENGLISH, make_document
from typer.testing import CliRunner

from data_prep.cli import app
from data_prep.tokenizer_lab.cost import Growth, cost, model_1b
from data_prep.tokenizer_lab.metrics import measure, mixed_bytes_per_token, renyi_efficiency
from data_prep.tokenizer_lab.page import render_page
from data_prep.tokenizer_lab.page_strings import TABLES
from data_prep.tokenizers.hugging_face import train_byte_level_bpe
from data_prep.tokenizers.load import load_reference
from megatron_recipe.errors import ConfigError, DataError


def test_figures_of_a_source(tokenizer):
    documents = [ENGLISH, ENGLISH[:50] + "  \n x"]
    figures, counts = measure(tokenizer, 0, documents)
    ids = [tokenizer.encode(text) for text in documents]
    assert figures.tokens == sum(map(len, ids))
    assert figures.bytes_per_token == sum(len(text.encode()) for text in documents) / figures.tokens
    assert figures.fertility == figures.tokens / sum(len(text.split()) for text in documents)
    assert figures.exact_share == 1.0 and figures.unknown_rate == 0.0 and not figures.is_chinese
    assert dict(Counter(i for one in ids for i in one)) == {i: int(counts[i]) for i in np.flatnonzero(counts)}


def test_chinese_fertility_is_tokens_a_han_character(tokenizer):
    figures, _ = measure(tokenizer, 0, [CHINESE])
    runs = CHINESE.replace("，", " ").replace("。", " ").split()
    assert figures.is_chinese
    assert figures.fertility == sum(len(tokenizer.encode(run)) for run in runs) / sum(map(len, runs))
    assert figures.characters_per_token == len(CHINESE) / len(tokenizer.encode(CHINESE))


def test_renyi_efficiency_by_its_definition():
    assert renyi_efficiency(np.full(64, 3)) == pytest.approx(1.0)
    frequencies = [5, 3, 2, 0]
    power = sum((f / 10) ** 2.5 for f in frequencies)
    assert renyi_efficiency(np.array(frequencies)) == pytest.approx(math.log(power) / (1 - 2.5) / math.log(4))


def test_a_mix_is_by_bytes(tokenizer):
    english, _ = measure(tokenizer, 0, [ENGLISH])
    chinese, _ = measure(tokenizer, 0, [CHINESE])
    tokens = 0.25 / english.bytes_per_token + 0.75 / chinese.bytes_per_token
    assert mixed_bytes_per_token({"en": english, "zh": chinese}, {"en": 0.25, "zh": 0.75}) == pytest.approx(1 / tokens)


def test_the_cost_of_a_vocabulary_at_1b():
    model = model_1b()
    small, large = cost(64_000, model), cost(150_000, model)
    assert (small.bytes_per_token_on_disk, large.bytes_per_token_on_disk) == (2, 4)
    matrices = 1 if model.tied_embeddings else 2
    assert large.embedding_parameters == matrices * model.hidden_size * 150_016  # padded to a multiple of 128
    assert Growth(small, large).parameters == matrices * model.hidden_size * (150_016 - 64_000)


@pytest.fixture(scope="module")
def byte_level(tmp_path_factory):
    path = tmp_path_factory.mktemp("byte_level") / "tokenizer.json"
    path.write_bytes(train_byte_level_bpe([make_document(i, lang) for i in range(40) for lang in ("en", "zh")], 500))
    return load_reference(path)


@given(st.text(max_size=200))
def test_a_byte_level_tokenizer_gives_every_text_back(byte_level, text):
    text = text.encode("utf-8", "replace").decode()
    assert byte_level.decode(byte_level.encode(text)) == text
    assert byte_level.eod_id not in byte_level.encode(text + "<|endoftext|>")


@pytest.fixture
def files(tmp_path):
    for lang in ("en", "zh"):
        lines = [json.dumps({"text": make_document(i, lang)}) + "\n" for i in range(200)]
        (tmp_path / f"{lang}.jsonl").write_text("".join(lines))
    return [f"{lang}={tmp_path / f'{lang}.jsonl'}" for lang in ("en", "zh")]


def run(*arguments):
    return CliRunner().invoke(app, ["tokenizers", *map(str, arguments)], catch_exceptions=False)


def test_the_command_trains_compares_and_recommends(files, tmp_path, tokenizer):
    out = tmp_path / "lab"
    kinds = ["--kind", "sentencepiece-bpe", "--kind", "byte-level-bpe", "--kind", "wordpiece"]
    result = run(*files, "--size", 600, *kinds, "--existing", tokenizer.path, "--weight", "en=3", "--out", out)
    assert result.exit_code == 0, result.output
    content = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert content["shares"] == {"en": 0.75, "zh": 0.25}
    by_kind = {one["kind"]: one for one in content["tokenizers"] if one["trained"]}
    assert set(by_kind) == {"sentencepiece-bpe", "byte-level-bpe", "wordpiece"}
    assert by_kind["wordpiece"]["loses_text"] and not by_kind["byte-level-bpe"]["loses_text"]
    assert "wordpiece" not in content["recommendation"].splitlines()[0]
    for one in content["tokenizers"]:
        assert f"{one['bytes_per_token']:.3f}" in result.stdout
        assert load_reference(tmp_path / one["file"]).vocab_size == one["vocab_size"]
    for lang in ("en", "zh"):
        page = render_page(content, lang)
        for one in content["tokenizers"]:
            assert one["name"] in page and f"{one['renyi_efficiency']:.3f}" in page
            assert all(f"{figures['fertility']:.3f}" in page for figures in one["sources"].values())
    assert set(TABLES["en"]) == set(TABLES["zh"])
    assert render_page(content, "en") == (out / "report.html").read_text(encoding="utf-8")
    assert 0.6 < content["training_bytes"]["en"] / sum(content["training_bytes"].values()) < 0.9


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kind", "bpee"], "--kind bpee: unknown"),
        (["--size", "0"], "--size 0 must be above 0"),
        (["--weight", "fr=1"], "no source is named 'fr'; there are en, zh"),
        (["--existing", "nowhere.model"], "nowhere.model: no such file"),
        (["--lang", "de"], "--lang=de: unknown language; choose en or zh"),
    ],
)
def test_wrong_arguments(files, arguments, message):
    with pytest.raises(ConfigError, match=message):
        run(*files, *arguments)


def test_text_that_is_too_little_is_said(files, tmp_path):
    (tmp_path / "one.jsonl").write_text('{"text": "only this"}\n')
    with pytest.raises(DataError, match="has no text for"):
        run(f"x={tmp_path / 'one.jsonl'}", "--out", tmp_path / "lab")
    with pytest.raises(DataError, match="no tokenizer could be trained on this text"):
        run(*files, "--size", 60000, "--kind", "sentencepiece-bpe", "--out", tmp_path / "lab")
