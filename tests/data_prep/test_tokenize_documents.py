"""What the block writes is what the reference tokenizer says, document by document, whatever the batches."""

import json

import numpy as np
import pytest
from datatrove.data import Document
from made_texts import make_document

from data_prep import tokenize_documents
from data_prep.megatron_writer import read_tokens
from data_prep.split import is_held_out
from data_prep.tokenize_documents import SPLITS, TokenizeDocuments, part
from data_prep.tokenizers.sentencepiece_tokenizer import SentencePieceTokenizer
from data_prep.tokenizers.train import train_bpe

ODD_TEXTS = ["a", "", "\0", "😀" * 5, "<|end_of_document|>", "a\u2581b", "  \n\n ", "中" * 5000]
SHARE, SEED = 0.3, 7


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tokenizer.model"
    path.write_bytes(train_bpe([make_document(i, "zh" if i % 2 else "en", 6) for i in range(60)], 600))
    return path


@pytest.mark.parametrize("batch_characters", [1, 2_000, 1_000_000])
def test_each_document_has_its_own_ids_in_its_split(tmp_path, model, monkeypatch, batch_characters):
    monkeypatch.setattr(tokenize_documents, "BATCH_CHARACTERS", batch_characters)
    texts = [*ODD_TEXTS, *(make_document(i, "zh" if i % 2 else "en", 6) for i in range(40))]
    documents = [Document(text=text, id=f"d{number}") for number, text in enumerate(texts)]
    block = TokenizeDocuments(model, tmp_path, SHARE, SEED)
    passed = list(block.run(iter(documents)))

    reference = SentencePieceTokenizer(model)
    expected = {split: [] for split in SPLITS}
    for document in documents:
        if document.text:
            expected[SPLITS[is_held_out(document.id, SHARE, SEED)]].append(document)
    assert all(expected.values()), "both splits must be tried"
    for split in SPLITS:
        index, tokens = read_tokens(part(tmp_path, 0, split))
        written = [ids.tolist() for ids in np.split(tokens, np.cumsum(index.lengths)[:-1])]
        assert written == [[*reference.encode(d.text), reference.eod_id] for d in expected[split]]
    lines = part(tmp_path, 0, "validation").with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines] == [d.id for d in expected["validation"]]
    assert all(json.loads(line)["metadata"] == {} for line in lines)
    assert [d.id for d in passed] == [d.id for d in documents if d.text]
    assert all(d.metadata["split"] in SPLITS for d in passed)
    assert block.stats["dropped_no_tokens"].total == 1
