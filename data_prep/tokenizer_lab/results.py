"""What came of a comparison: a table for the terminal, the same as JSON, and a recommendation in words."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from data_prep.tokenizer_lab.choose import choose
from data_prep.tokenizer_lab.compare import Measured
from data_prep.tokenizer_lab.cost import LARGE_VOCABULARY
from data_prep.tokenizer_lab.request import Request
from data_prep.tokenizer_lab.texts import Texts
from megatron_recipe.files import write_json


def table(measured: Sequence[Measured]) -> Iterator[str]:
    """One line a tokenizer and source, then what holds for the whole mix."""
    width = max(len("tokenizer"), *(len(one.candidate.name) for one in measured))
    yield (
        f"{'tokenizer':<{width}}  {'source':<8}{'bytes/tok':>10}{'chars/tok':>10}{'fertility':>10}{'unknown':>9}"
        f"{'exact':>8}"
    )
    for one in measured:
        for name, figures in one.sources.items():
            yield (
                f"{one.candidate.name:<{width}}  {name:<8}{figures.bytes_per_token:>10.3f}"
                f"{figures.characters_per_token:>10.3f}{figures.fertility:>10.3f}{figures.unknown_rate:>9.2%}"
                f"{figures.exact_share:>8.1%}"
            )
    yield ""
    yield (
        f"{'tokenizer':<{width}}  {'pieces':>8}{'mix b/tok':>10}{'Rényi':>8}{'unused':>8}{'MB/s':>7}{'embedding':>11}"
        f"{'of 1B':>7}{'disk b':>7}{'FLOP/byte':>11}"
    )
    for one in measured:
        yield (
            f"{one.candidate.name:<{width}}  {one.vocab_size:>8,}{one.bytes_per_token:>10.3f}"
            f"{one.renyi_efficiency:>8.3f}{one.unused_share:>8.1%}{one.bytes_per_second / 1e6:>7.1f}"
            f"{one.cost.embedding_parameters / 1e6:>10.1f}M{one.cost.embedding_share:>7.1%}"
            f"{one.cost.bytes_per_token_on_disk:>7}{one.flops_per_byte:>11.3g}"
            f"{'  loses text: not ranked' if one.loses_text else ''}"
        )


WORDS = {
    "en": {
        "none": "Every tokenizer here loses text; train one with byte pieces (sentencepiece-bpe or byte-level-bpe).",
        "chosen": "Take {name}: training a 1B on a byte of this mix ({mix}) costs {flops:.3g} operations with it, and "
        "none that loses nothing is more than 3 % cheaper; an id takes {disk} bytes on disk, a token holds "
        "{bytes:.2f} bytes. Its embedding has {embedding:.0f}M parameters, {share:.1%} of the model.",
        "growth": "A vocabulary of {large:,} would add {added:.0f}M parameters ({share:.1%}), and must hold {even:.1%} "
        "more bytes a token to train at the same cost.",
        "fewer": "Fewer tokens a character are better: the same text is then fewer steps. Compression counts only for "
        "tokenizers that give every text back exactly.",
        "lossy": "Not ranked, since they lose text: {names}.",
    },
    "zh": {
        "none": "这里的分词器都会丢失文本；请训练带字节片段的（sentencepiece-bpe 或 byte-level-bpe）。",
        "chosen": "建议采用 {name}：用它训练 1B 模型，这个配比（{mix}）的每字节文本要 {flops:.3g} 次运算，"
        "不丢文本的分词器中没有便宜 3% 以上的；每个 id 在磁盘上占 {disk} 字节，一个 token 平均 {bytes:.2f} 字节。"
        "它的嵌入层有 {embedding:.0f}M 参数，占模型的 {share:.1%}。",
        "growth": "词表扩大到 {large:,} 会增加 {added:.0f}M 参数（{share:.1%}），"
        "每个 token 要多装 {even:.1%} 的字节，训练成本才持平。",
        "fewer": "每个字符用的 token 越少越好：同样的文本步数更少。只有能原样还原文本的分词器才比较压缩率。",
        "lossy": "会丢失文本，不参与排名：{names}。",
    },
}


def recommend(measured: Sequence[Measured], shares: Mapping[str, float], lang: str) -> str:
    """Which to take and why, computed from the figures.

    Args:
        shares: of the mix, by source.
        lang: a key of WORDS.
    """
    choice, words = choose(measured), WORDS[lang]
    lines = []
    if choice.chosen is None:
        lines.append(words["none"])
    else:
        best = choice.chosen
        lines.append(
            words["chosen"].format(
                name=best.candidate.name,
                mix=", ".join(f"{name} {share:.0%}" for name, share in shares.items()),
                flops=best.flops_per_byte,
                disk=best.cost.bytes_per_token_on_disk,
                bytes=best.bytes_per_token,
                embedding=best.cost.embedding_parameters / 1e6,
                share=best.cost.embedding_share,
            )
        )
    if choice.growth is not None:
        grown = choice.growth
        lines.append(
            words["growth"].format(
                large=LARGE_VOCABULARY,
                added=grown.parameters / 1e6,
                share=grown.parameter_share,
                even=grown.break_even,
            )
        )
    if choice.unranked:
        lines.append(words["lossy"].format(names=", ".join(one.candidate.name for one in choice.unranked)))
    return "\n".join([*lines, words["fewer"]])


def write_results(
    path: Path, measured: Sequence[Measured], request: Request, texts: Texts, words: str
) -> dict[str, Any]:
    """Write every figure of the tables and what was trained on, and return it."""
    content = {
        "shares": request.shares,
        "training_bytes": texts.train_bytes,
        "held_out_documents": {name: len(documents) for name, documents in texts.held_out.items()},
        "tokenizers": [_plain(one) for one in measured],
        "recommendation": words,
    }
    write_json(path, content)
    return content


def _plain(one: Measured) -> dict[str, Any]:
    ratios = ("bytes_per_token", "characters_per_token", "fertility", "unknown_rate", "exact_share")
    return {
        "name": one.candidate.name,
        "kind": one.candidate.kind,
        "file": str(one.candidate.path),
        "sha256": one.fingerprint,
        "trained": one.candidate.trained,
        "training_seconds": one.candidate.seconds,
        "vocab_size": one.vocab_size,
        "bytes_per_token": one.bytes_per_token,
        "renyi_efficiency": one.renyi_efficiency,
        "unused_share": one.unused_share,
        "bytes_per_second": one.bytes_per_second,
        "loses_text": one.loses_text,
        "flops_per_byte": one.flops_per_byte,
        "cost": asdict(one.cost) | {"embedding_share": one.cost.embedding_share},
        "sources": {
            name: asdict(figures) | {ratio: getattr(figures, ratio) for ratio in ratios}
            for name, figures in one.sources.items()
        },
    }
