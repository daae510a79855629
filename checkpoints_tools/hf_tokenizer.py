"""A dataset's tokenizer → Hugging Face fast tokenizer with the same ids for every text.

SentencePiece stores pieces with scores and merges, of all neighbours whose concatenation is a piece, the pair with
the best score, leftmost first (sentencepiece/src/bpe_model.cc). The `tokenizers` BPE stores a ranked list of pairs
instead. The usual conversion lists every way to cut a piece in two, so that two cuts of one piece get two ranks where
SentencePiece goes by position. Here each piece has exactly one pair: the last merge that SentencePiece does when it
encodes that piece alone. That is enough, and exact: while a stretch of text becomes one token no merge crosses its
ends, so the merges inside it are those of the stretch alone.

SentencePiece writes a space as U+2581 inside; here a space is a space, also in the pieces. So no normalizer is needed,
and a real U+2581 in a text is spelled in bytes, as data_prep/tokenizers/sentencepiece_tokenizer.py does.

Special tokens in text. The saved tokenizer has `split_special_tokens`, so a document that spells
"<|end_of_document|>" gets ordinary tokens, as in training. The limit: a program that reads tokenizer.json with the
`tokenizers` library alone does not see that setting (it lives in tokenizer_config.json) and must set
`tokenizer.encode_special_tokens = True` itself.
"""

import itertools
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from checkpoints_tools.hf_folder import load_hf_tokenizer
from data_prep.tokenizers.load import load_reference
from data_prep.tokenizers.sentencepiece_tokenizer import WORD_MARK
from megatron_recipe.errors import CheckpointError


def convert_tokenizer(model_file: Path, out: Path, *, eod_id: int, max_length: int) -> None:
    """Write tokenizer.json and tokenizer_config.json for a dataset's tokenizer into the folder `out`.

    model_file: a SentencePiece model, which is converted, or a tokenizer.json, which is taken as it is.
    max_length: tokens that the model was trained on, for transformers' warning about longer texts.
    Raises CheckpointError for a model that is not BPE with byte fallback and identity normalization.
    """
    if model_file.suffix == ".json":
        from tokenizers import Tokenizer

        out.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(model_file, out / "tokenizer.json")
        special = {"unk_token": None, "eos_token": Tokenizer.from_file(str(model_file)).id_to_token(eod_id)}
    else:
        special = _convert_sentencepiece(model_file, out, eod_id)
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": special["unk_token"],
        "bos_token": special["eos_token"],
        "eos_token": special["eos_token"],
        "pad_token": special["eos_token"],
        "add_bos_token": False,
        "add_eos_token": False,
        "model_max_length": max_length,
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,
    }
    (out / "tokenizer_config.json").write_text(json.dumps(settings, ensure_ascii=False, indent=1) + "\n", "utf-8")


def _convert_sentencepiece(model_file: Path, out: Path, eod_id: int) -> dict[str, str | None]:
    import sentencepiece
    from tokenizers import AddedToken

    processor = sentencepiece.SentencePieceProcessor(model_file=str(model_file))
    check_settings(model_file)
    tokenizer = build_tokenizer(processor)
    unk, eod = processor.id_to_piece(processor.unk_id()), processor.id_to_piece(eod_id)
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in (unk, eod)])
    out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(out / "tokenizer.json"))
    return {"unk_token": unk, "eos_token": eod}


def check_settings(model_file: Path) -> None:
    """Refuse SentencePiece settings that the converted tokenizer would not reproduce."""
    from sentencepiece import sentencepiece_model_pb2

    model: Any = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]  # made at run time by protobuf
    model.ParseFromString(model_file.read_bytes())
    trainer, normalizer = model.trainer_spec, model.normalizer_spec
    wanted = {
        "model_type": (trainer.model_type, trainer.BPE),
        "byte_fallback": (trainer.byte_fallback, True),
        "normalization_rule_name": (normalizer.name, "identity"),
        "add_dummy_prefix": (normalizer.add_dummy_prefix, False),
        "remove_extra_whitespaces": (normalizer.remove_extra_whitespaces, False),
        "user_defined_symbols": (list(trainer.user_defined_symbols), []),
    }
    for setting, (value, needed) in wanted.items():
        if value != needed:
            raise CheckpointError(
                f"{model_file}: {setting}={value} cannot be exported exactly, it must be {needed}; "
                "train the tokenizer with `megatron-recipe data tokenizer`"
            )


def build_tokenizer(processor: Any) -> Any:
    """The `tokenizers.Tokenizer` of a SentencePieceProcessor, without special tokens."""
    from tokenizers import Tokenizer, decoders, models

    tokenizer = Tokenizer(
        models.BPE(
            vocab={with_spaces(processor.id_to_piece(index)): index for index in range(processor.get_piece_size())},
            merges=merges_of(processor),
            unk_token=processor.id_to_piece(processor.unk_id()),
            byte_fallback=True,
            fuse_unk=False,
        )
    )
    # No pre-tokenizer: SentencePiece merges over the whole text, so must this.
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


def with_spaces(piece: str) -> str:
    """A piece with spaces where SentencePiece writes U+2581."""
    return piece.replace(WORD_MARK, " ")


def merges_of(processor: Any) -> list[tuple[str, str]]:
    """One pair for each piece of two characters and more that can be formed at all, best score first."""
    scores = {
        with_spaces(processor.id_to_piece(index)): processor.get_score(index)
        for index in range(processor.get_piece_size())
        if not (processor.is_control(index) or processor.is_unknown(index) or processor.is_byte(index))
    }
    by_rank = sorted((piece for piece in scores if len(piece) > 1), key=lambda piece: -scores[piece])
    pairs = (last_merge(piece, scores) for piece in by_rank)
    return [pair for pair in pairs if pair is not None]


def last_merge(piece: str, scores: dict[str, float]) -> tuple[str, str] | None:
    """The pair that SentencePiece merges last when it encodes `piece` alone; None where it never becomes one token."""
    symbols = list(piece)
    while len(symbols) > 2:
        joined = [left + right for left, right in itertools.pairwise(symbols)]
        # max() keeps the first of equals, which is SentencePiece's leftmost
        best = max(range(len(joined)), key=lambda at: scores.get(joined[at], float("-inf")))
        if joined[best] not in scores:
            return None
        symbols[best : best + 2] = [joined[best]]
    return (symbols[0], symbols[1]) if len(symbols) == 2 else None


def count_id_differences(model_file: Path, tokenizer_folder: Path, texts: Iterable[str]) -> tuple[int, int]:
    """(texts whose ids differ, texts) of the datasets' tokenizer and the saved one as AutoTokenizer loads it."""
    reference = load_reference(model_file)
    tokenizer = load_hf_tokenizer(tokenizer_folder)
    different = total = 0
    for text in texts:
        total += 1
        different += reference.encode_batch([text])[0].tolist() != tokenizer(text, verbose=False)["input_ids"]
    return different, total
