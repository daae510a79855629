"""Continuations: greedy ones are the most likely tokens, sampled ones follow their seed."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from eval.generate import Choice, Decoding, generate_samples
from eval.prompts import PROMPTS_FILE, read_prompts
from megatron_recipe.errors import CheckpointError, ConfigError, DataError

LENGTH = 32
PROMPTS = ["def f(x):", "训练一个模型", ""]


def texts(result: dict, mode: str) -> list[str]:
    return [sample["text"] for sample in result["samples"] if sample["mode"] == mode]


def test_each_prompt_gets_a_greedy_and_a_sampled_continuation(model_dir):
    result = generate_samples(model_dir, PROMPTS, max_new_tokens=6, seed=5)
    assert [(s["prompt"], s["mode"], s["temperature"], s["seed"]) for s in result["samples"]] == [
        (prompt, mode, temperature, 5)
        for prompt in PROMPTS
        for mode, temperature in (("greedy", 0.0), ("sampled", 0.8))
    ]
    assert result["model"] == str(model_dir) and result["created"]


def greedy_text(model_dir, prompt_ids: list[int], new_tokens: int) -> str:
    """The most likely continuation, token by token, without `generate`."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(model_dir).eval(), AutoTokenizer.from_pretrained(model_dir)
    ids: list[int] = []
    with torch.inference_mode():
        while len(ids) < new_tokens and ids[-1:] != [1]:
            ids.append(int(model(torch.tensor([prompt_ids + ids])).logits[0, -1].argmax()))
    return tokenizer.decode(ids, skip_special_tokens=True)


def test_greedy_takes_the_most_likely_token_after_a_document_start(model_dir):
    prompt = [1, *AutoTokenizer.from_pretrained(model_dir)(PROMPTS[0])["input_ids"]]
    found = generate_samples(model_dir, PROMPTS[:1], max_new_tokens=8, seed=0)
    assert texts(found, "greedy") == [greedy_text(model_dir, prompt, 8)]


def test_the_seed_decides_the_sampled_text_and_nothing_else(model_dir):
    first, again, other = (generate_samples(model_dir, PROMPTS, max_new_tokens=12, seed=seed) for seed in (1, 1, 2))
    assert first["samples"] == again["samples"]
    assert texts(first, "sampled") != texts(other, "sampled")
    assert texts(first, "greedy") == texts(other, "greedy")


@pytest.mark.parametrize("batch_size", [1, 5])
def test_a_text_does_not_depend_on_what_is_in_its_batch(model_dir, batch_size):
    """Prompts of 1 to 20 tokens: padding before the shorter ones must not show, greedily or sampled."""
    prompts = ["", "def", "训练一个模型", "x = 1\nfor i in range(10):\n    ", "the last value"]
    together = generate_samples(model_dir, prompts, max_new_tokens=8, seed=3, samples=2, batch_size=16)
    apart = generate_samples(model_dir, prompts, max_new_tokens=8, seed=3, samples=2, batch_size=batch_size)
    assert together["samples"] == apart["samples"]
    assert len({sample["text"] for sample in together["samples"]}) > len(prompts)


def test_samples_have_the_probabilities_of_the_model():
    """8,000 draws of 4 tokens at temperature 0.5: shares as p² / Σ p², within 4 standard errors."""
    log_p = torch.tensor([0.1, 0.2, 0.3, 0.4]).log()
    choice = Choice([Decoding("sampled", 0.5, 11), Decoding("greedy", 0.0, 11)])
    drawn = [choice(None, log_p.repeat(2, 1)).argmax(1).tolist() for _ in range(8_000)]
    assert {greedy for _, greedy in drawn} == {3}
    shares = torch.bincount(torch.tensor([sampled for sampled, _ in drawn]), minlength=4) / len(drawn)
    expected = torch.tensor([1, 4, 9, 16]) / 30
    assert ((shares - expected).abs() < 4 * (expected * (1 - expected) / len(drawn)).sqrt()).all()


def test_a_prompt_that_is_too_long_is_cut_at_its_beginning(model_dir):
    prompt = "x y " * 100 + "return the last value"
    kept = AutoTokenizer.from_pretrained(model_dir)(prompt, verbose=False)["input_ids"][-(LENGTH - 4) :]
    found = generate_samples(model_dir, [prompt], max_new_tokens=4, seed=0)
    assert texts(found, "greedy") == [greedy_text(model_dir, kept, 4)]


@pytest.mark.parametrize("tokens", [0, 32])
def test_more_tokens_than_the_model_has_positions_are_refused(model_dir, tokens):
    with pytest.raises(ConfigError, match="must be 1 to 31"):
        generate_samples(model_dir, PROMPTS, max_new_tokens=tokens, seed=0)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="not a Hugging Face folder"):
        generate_samples(tmp_path, PROMPTS, max_new_tokens=4, seed=0)


def test_the_prompts_that_come_with_the_project_are_english_and_chinese():
    prompts = read_prompts(PROMPTS_FILE)
    assert any(prompt.isascii() for prompt in prompts) and any(not prompt.isascii() for prompt in prompts)


def test_prompt_files_are_read_without_a_last_newline_and_bad_ones_are_refused(tmp_path):
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "a"}\n\n{"prompt": "二"}', encoding="utf-8")
    assert read_prompts(file) == ["a", "二"]
    for content in (b"", b'["a"]\n', b"a\n", b'{"text": "a"}', b'{"prompt": "\xff"}'):
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"prompts\.jsonl"):
            read_prompts(file)
    with pytest.raises(DataError, match="not a prompt file"):
        read_prompts(tmp_path / "missing.jsonl")
