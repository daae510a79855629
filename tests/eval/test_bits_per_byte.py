"""Bits per byte of one distribution over text, under two tokenizers: a case with a known answer.

The text is of the letters a, b and c, each as likely as the end of a document: 2 bits a letter, 2 bits an end. Under
letters a model gives 1/4 to each of its 4 tokens. Under pairs of letters the same distribution is 1/16 for each of
the 9 pairs and 1/4 for the end; what is left belongs to endings of odd length, which the text does not have.
"""

import json
import math
import random

import pytest
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from eval.perplexity import Reading, evaluate_sets

END = "<end>"
LETTERS = {END: 1 / 4, "a": 1 / 4, "b": 1 / 4, "c": 1 / 4}
PAIRS = {END: 1 / 4, **{x + y: 1 / 16 for x in "abc" for y in "abc"}, "<odd>": 3 / 16}


def write_model(folder, probabilities: dict[str, float], letters: int):
    """A model that gives each token its probability whatever stands before it."""
    vocabulary = {token: index for index, token in enumerate(probabilities)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<odd>" if "<odd>" in vocabulary else END))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(f"[abc]{{{letters}}}"), "isolated")
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END).save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=4,
        intermediate_size=4,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=64,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
        model.model.embed_tokens.weight.fill_(1)
        model.model.norm.weight.fill_(1)
        model.lm_head.weight[:, 0] = torch.tensor([math.log(p) for p in probabilities.values()])
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("by_document", [False, True])
def test_two_tokenizers_of_the_same_distribution_have_the_same_bits_per_byte(tmp_path, by_document):
    generator = random.Random(0)
    texts = ["".join(generator.choices("abc", k=2 * generator.randint(1, 60))) for _ in range(20)]
    (tmp_path / "text.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    size = sum(map(len, texts))
    found = []
    for name, probabilities, letters in (("letters", LETTERS, 1), ("pairs", PAIRS, 2)):
        folder = write_model(tmp_path / name, probabilities, letters)
        reading = Reading(batch_size=4, by_document=by_document)
        row = evaluate_sets(folder, {"text": tmp_path / "text.jsonl"}, reading)["splits"]["text"]
        assert row["tokens"] == size // letters + len(texts)
        found.append(row["bits_per_byte"])
    assert found == pytest.approx([2 * (size + len(texts)) / size] * 2, rel=1e-5)
