"""What two models are compared on: enough tokens, in rows that the model takes, and never none."""

import pytest

from checkpoints_tools.comparison_text import choose_text, default_token_count, random_tokens, text_tokens
from checkpoints_tools.hf_folder import load_hf_tokenizer
from megatron_recipe.errors import DataError


def test_larger_models_are_compared_on_fewer_tokens():
    counts = [default_token_count(parameters, 32_000) for parameters in (10**7, 3 * 10**8, 10**9, 7 * 10**9, 10**12)]
    assert counts == [2048, 960, 256, 64, 64]
    assert default_token_count(10**6, 500) == 4096 and default_token_count(10**6, 150_000) == 384


def test_texts_are_joined_and_cut_to_rows_and_to_the_count(exports):
    tokenizer = load_hf_tokenizer(exports["tied"][0])
    chosen = text_tokens(tokenizer, ["first text " * 20, "second text " * 20], "here", 16, 50)
    assert [len(row) for row in chosen.rows] == [16, 16, 16, 2] and chosen.origin == "here"
    assert chosen.rows[0].tolist() == tokenizer("first text " * 20)["input_ids"][:16]
    with pytest.raises(DataError, match="here: no text to compare on"):
        text_tokens(tokenizer, ["", ""], "here", 16, 50)


def test_random_ids_are_the_same_ones_each_time_and_reach_the_whole_vocabulary():
    first, again = (random_tokens(50, 64, 1000) for _ in range(2))
    assert [row.tolist() for row in first.rows] == [row.tolist() for row in again.rows]
    ids = {one for row in first.rows for one in row.tolist()}
    assert ids == set(range(50)) and "random" in first.origin


def test_text_goes_before_the_dataset_and_the_dataset_before_random_ids(exports, dataset, tmp_path):
    folder, size = exports["tied"][0], {"vocab_size": 500, "max_length": 64, "max_tokens": 64}
    (tmp_path / "text.txt").write_text("文本 and text", "utf-8")
    assert choose_text(folder, tmp_path / "text.txt", dataset, **size).origin == str(tmp_path / "text.txt")
    assert str(dataset) in choose_text(folder, None, dataset, **size).origin
    assert "random" in choose_text(folder, None, None, **size).origin
    (tmp_path / "text.txt").write_bytes(b"\xff")
    with pytest.raises(DataError, match="cannot be read as UTF-8"):
        choose_text(folder, tmp_path / "text.txt", dataset, **size)
    with pytest.raises(DataError, match=r"validation\.jsonl is missing"):
        choose_text(folder, None, tmp_path, **size)
