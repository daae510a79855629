"""The README.md of an exported model: what it is, what it was trained on, how it was proved, how to use it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from megatron_recipe.files import read_jsonl

if TYPE_CHECKING:
    from checkpoints_tools.export_plan import ExportPlan

LISTED_SOURCES = 20
CARD = """---
library_name: transformers
pipeline_tag: text-generation
{languages}tags:
- pretrained
- megatron-core
---
# {name}

{origin}

| | |
|---|---|
{facts}

## Training data / 训练数据

| source / 来源 | licence / 许可 | language / 语言 | documents / 文档数 | MB |
|---|---|---|---:|---:|
{sources}

## Checks / 验证

{checks}

## Use / 用法

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained("{name}")
tokenizer = AutoTokenizer.from_pretrained("{name}")
tokens = tokenizer("The", return_tensors="pt")
print(tokenizer.decode(model.generate(**tokens, max_new_tokens=40)[0], skip_special_tokens=True))
```

{ending}"""
TRAINED = """\
A base model of {parameters:,} parameters, pretrained on Megatron-Core with megatron-recipe. It continues text; it was
not tuned to follow instructions.

基础模型，{parameters:,} 个参数，用 megatron-recipe 在 Megatron-Core 上预训练。它续写文本，未做指令微调。"""
IMPORTED = """\
A model of {parameters:,} parameters, converted from Hugging Face to Megatron-Core and back with megatron-recipe; it was
not trained in between.

模型，{parameters:,} 个参数，用 megatron-recipe 从 Hugging Face 转为 Megatron-Core 再转回，其间未训练。"""
ENDING = """\
Training documents end with `{eod}` (id {eod_id}); generation stops there. Text that spells this token is ordinary text
to the tokenizer. 训练文档以 `{eod}`（id {eod_id}）结尾，生成到此为止；文本里写出的同名字符按普通文本处理。
"""


def model_card(plan: "ExportPlan", export: dict[str, Any], name: str) -> str:
    """The card of an export as Markdown. export: what export.json says."""
    manifest = plan.manifest or {}
    sources = manifest.get("sources", [])
    languages = sorted({code for source in sources if (code := source.get("language")) and len(code) == 2})
    tokenizer = manifest.get("tokenizer")
    return CARD.format(
        name=name,
        origin=(IMPORTED if plan.manifest is None else TRAINED).format(parameters=plan.parameters),
        languages="language:\n" + "".join(f"- {code}\n" for code in languages) if languages else "",
        facts="\n".join(f"| {label} | {value} |" for label, value in facts(plan).items()),
        sources="\n".join(source_rows(sources)),
        checks="\n".join(f"- {line}" for line in checks(export)),
        ending=ENDING.format(eod=tokenizer.get("eod_piece", "<|end_of_document|>"), eod_id=tokenizer["eod_id"])
        if tokenizer
        else "",
    )


def facts(plan: "ExportPlan") -> dict[str, str]:
    """Label → value of the card's first table; what the checkpoint does not say is left out."""
    model, found = plan.model, plan.facts
    head_count = f"{model.num_heads} × {model.head_dim}, {model.num_kv_groups} key-value groups"
    rows = {
        "layers / 层数": model.num_layers,
        "hidden, feed-forward / 隐藏层、前馈层": f"{model.hidden_size}, {model.ffn_hidden_size} (SwiGLU)",
        "heads / 注意力头": head_count,
        "vocabulary / 词表": f"{found['vocab_size']:,}{_tokenizer_kind(plan)}",
        "sequence length / 序列长度": f"{model.sequence_length_tokens:,} tokens",
        "weights / 权重": plan.dtype_name,
        "step / 步数": f"{found['step']:,}",
    }
    if "tokens" in found:
        rows["training tokens / 训练 token 数"] = f"{found['tokens']:,}"
    held_out = last_validation(plan.checkpoint.parent.parent / "metrics.jsonl", found["step"])
    if held_out:
        rows["held-out loss / 留出损失"] = f"{held_out['loss']:.4f} nats per token at step {held_out['step']:,}"
    return {label: str(value) for label, value in rows.items()}


def _tokenizer_kind(plan: "ExportPlan") -> str:
    if plan.manifest is None or plan.tokenizer is None:
        return ""
    return ", byte-level BPE" if plan.tokenizer.suffix == ".json" else ", SentencePiece BPE with byte fallback"


def last_validation(metrics: Path, step: int) -> dict[str, Any] | None:
    """The newest validation record of a run up to a step; None without the run's metrics."""
    if not metrics.is_file():
        return None
    records = [one for one in read_jsonl(metrics) if one.get("kind") == "validation" and one["step"] <= step]
    return records[-1] if records else None


def source_rows(sources: list[dict[str, Any]]) -> list[str]:
    """The largest sources as table rows, and one row that says how many more the manifest lists."""
    if not sources:
        return ["| not recorded / 未记录 | | | | |"]
    by_size = sorted(sources, key=lambda source: -(source.get("bytes") or 0))
    rows = [source_row(source) for source in by_size[:LISTED_SOURCES]]
    if rest := by_size[LISTED_SOURCES:]:
        documents, size = (sum(source.get(key) or 0 for source in rest) for key in ("documents", "bytes"))
        rows.append(
            source_row({"name": f"{len(rest)} more / 另外 {len(rest)} 个", "documents": documents, "bytes": size})
        )
    return rows


def source_row(source: dict[str, Any]) -> str:
    """One source of the dataset's manifest as a table row."""
    documents, size = source.get("documents"), source.get("bytes")
    cells = [str(source.get(key, "")) for key in ("name", "license", "language")]
    cells += [f"{documents:,}" if documents is not None else "", f"{size / 1e6:,.1f}" if size is not None else ""]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def checks(export: dict[str, Any]) -> list[str]:
    """Sentences on what was proved of this export."""
    comparison, tokenizer = export["comparison"], export["tokenizer"]
    lines = ["logits: not compared (exported with --no-compare) / 未比较 logits"]
    if comparison:
        lines = [
            f"logits against Megatron-Core in FP32 on {comparison['tokens']:,} tokens: largest difference "
            f"{comparison['max_abs_difference']:.1g}, best token equal on {comparison['top1_agreement']:.2%}, "
            f"KL {comparison['kl']:.1g} / "
            f"与 Megatron-Core 的 FP32 logits 最大差 {comparison['max_abs_difference']:.1g}，"
            f"首选 token 一致率 {comparison['top1_agreement']:.2%}"
        ]
    if tokenizer:
        lines.append(
            f"token ids equal to the training tokenizer's on all {tokenizer['documents']:,} held-out documents / "
            f"全部 {tokenizer['documents']:,} 篇留出文档的 token id 与训练用分词器相同"
        )
    return lines
