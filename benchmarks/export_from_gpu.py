"""Checkpoints that Transformer Engine trained in BF16 and in FP8, exported on a CPU and compared with the GPU's logits.

On a machine with a GPU and Transformer Engine (two minutes on an H100), on any dataset that `data prepare` wrote:

    python -m benchmarks.export_from_gpu train OUT --dataset DATASET

It trains 4.6M parameters in each precision, keeps the weights and the dataset's tokenizer in OUT (12 MB a run), and
writes beside them the BF16 logits of Transformer Engine's layers on held-out tokens. Then OUT is copied to a machine
without a GPU, and there

    python -m benchmarks.export_from_gpu check OUT

exports each run, which compares it with Megatron-Core's layers in FP32, and compares the export, computed by
transformers in FP32, with the GPU's logits. Exit code 1 where the best token agrees on less than 99.5 %. An FP8 run's
weights are BF16, and so are the logits that are compared: FP8 is how it multiplied, not what it stored.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.measure import table
from checkpoints_tools.megatron_checkpoint import checkpoint_facts, find_checkpoint
from megatron_recipe.recipes import load_config

PRECISIONS = {"bf16": ("precision.fp8=off",), "fp8": ("precision.fp8=delayed",)}
STEPS = 300
MODEL = (
    "model.num_layers=4",
    "model.hidden_size=256",
    "model.ffn_hidden_size=768",
    "model.num_heads=4",
    "model.num_kv_groups=2",
    "model.head_dim=64",
    "model.sequence_length_tokens=256",
    "precision.dtype=bf16",
)
RUN = (
    f"train.steps={STEPS}",
    "train.validate_every_steps=100",
    "train.validation_samples=32",
    "batch.global_batch_size_samples=16",
    "checkpoint.save_every_steps=0",
    f"checkpoint.milestone_every_steps={STEPS}",
    "checkpoint.milestone_weights_only=true",
    "logging.tensorboard=false",
)
LOGITS, LOGIT_TOKENS = "gpu_logits.pt", 2048
LEAST_AGREEMENT, MOST_PARAMETERS = 0.995, 6_000_000
KEPT_OF_DATASET = ("manifest.json", "validation.jsonl", "tokenizer")


def main() -> None:
    """One of the two halves; `logits` is what `train` starts for each run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("train", "check", "logits"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--dataset", type=Path, help="for train: a dataset folder")
    options = parser.parse_args()
    if options.what == "logits":
        write_logits(options.out)
    elif options.what == "check":
        sys.exit(check(options.out))
    elif options.dataset is None:
        parser.error("train needs --dataset")
    else:
        train(options.out, options.dataset)


def train(out: Path, dataset: Path) -> None:
    """Train one run for each precision, and let each write its logits. On a GPU."""
    kept = out / "dataset"
    kept.mkdir(parents=True, exist_ok=True)
    for name in KEPT_OF_DATASET:
        source = dataset / name
        shutil.copytree(source, kept / name, dirs_exist_ok=True) if source.is_dir() else shutil.copy(source, kept)
    for name, precision in PRECISIONS.items():
        settings = [f"data.datasets={dataset}", *MODEL, *RUN, *precision]
        command = [sys.executable, "-m", "megatron_recipe.cli", "train", "gpt_tiny_cpu", "--run-dir", str(out / name)]
        subprocess.run([*command, *(word for one in settings for word in ("--set", one))], check=True)
        for whole in (out / name / "checkpoints").glob("step_*"):
            shutil.rmtree(whole)
        subprocess.run([sys.executable, "-m", "benchmarks.export_from_gpu", "logits", str(out / name)], check=True)


def write_logits(run: Path) -> None:
    """Write held-out tokens and Transformer Engine's logits of them, BF16, into the run's folder. On a GPU."""
    from megatron.core import dist_checkpointing

    from megatron_recipe import parallel
    from megatron_recipe.model import build_gpt, transformer_engine_is_there

    checkpoint = find_checkpoint(run)
    facts = checkpoint_facts(checkpoint)
    if not transformer_engine_is_there():
        sys.exit("this half needs a GPU and Transformer Engine: without them there is nothing to compare with")
    config = load_config("gpt_tiny_cpu", (*MODEL, *PRECISIONS["bf16"]))
    tokens = held_out_tokens(run.parent / "dataset", config.model.sequence_length_tokens)
    with parallel.process_groups(config) as ranks, torch.inference_mode():
        model = build_gpt(config, facts["vocab_size"]).to(ranks.device).eval()
        state = model.sharded_state_dict(metadata={"singleton_local_shards": False})
        wanted = {name: one for name, one in state.items() if "_extra_state" not in name}
        loaded = dist_checkpointing.load({"model": wanted}, str(checkpoint))["model"]
        lacking = model.load_state_dict(loaded, strict=False).missing_keys
        assert all("_extra_state" in name for name in lacking), lacking
        positions = torch.arange(tokens.shape[1], device=ranks.device).unsqueeze(0)
        rows = [model(row.unsqueeze(0), positions, attention_mask=None)[0] for row in tokens.to(ranks.device)]
    device = torch.cuda.get_device_name(0)
    torch.save({"tokens": tokens, "logits": torch.stack(rows).bfloat16().cpu(), "device": device}, run / LOGITS)


def held_out_tokens(dataset: Path, length: int) -> Tensor:
    """[rows, length]: the first held-out tokens."""
    from checkpoints_tools.held_out import read_held_out, tokenizer_file
    from data_prep.tokenizers.load import load_reference

    manifest = json.loads((dataset / "manifest.json").read_text(encoding="utf-8"))
    tokenizer = load_reference(tokenizer_file(dataset, manifest))
    ids: list[int] = []
    for document in read_held_out(dataset):
        ids += tokenizer.encode_batch([document.text])[0].tolist()
        if len(ids) >= LOGIT_TOKENS:
            break
    rows = min(len(ids), LOGIT_TOKENS) // length
    return torch.tensor(ids[: rows * length]).view(rows, length)


def check(out: Path) -> int:
    """Export every run of `out` on this machine's CPU and compare; 1 where one disagrees."""
    rows, disagree = [], False
    for name in PRECISIONS:
        found = check_run(out / name, out / "dataset", out / f"export_{name}")
        fine = found["top1_agreement"] >= LEAST_AGREEMENT and found["fp32_difference"] < 1e-4
        disagree |= not fine
        rows.append(
            [
                name,
                found["device"],
                f"{found['parameters']:,}",
                f"{found['tokens']:,}",
                f"{found['top1_agreement']:.2%}",
                f"{found['kl']:.1e}",
                f"{found['fp32_difference']:.1e}",
            ]
        )
    print(table(["", "trained on", "parameters", "tokens", "top-1", "KL", "FP32 difference"], rows))
    return int(disagree)


def check_run(run: Path, dataset: Path, export_folder: Path) -> dict[str, Any]:
    """Export one run, which compares it with Megatron in FP32, and compare the export with the GPU's logits."""
    from checkpoints_tools.compare_logits import Differences
    from checkpoints_tools.hf_folder import load_hf_model
    from checkpoints_tools.to_hf import export_run

    export = export_run(run, export_folder, dataset=dataset)
    saved = torch.load(run / LOGITS)
    model = load_hf_model(export_folder, torch.float32)
    assert model.num_parameters() <= MOST_PARAMETERS, model.num_parameters()
    differences = Differences(torch.bfloat16)
    with torch.inference_mode():
        for tokens, logits in zip(saved["tokens"], saved["logits"], strict=True):
            differences.add(logits.float(), model(tokens.unsqueeze(0)).logits[0])
    return {
        **differences.verdict(),
        "fp32_difference": export["comparison"]["max_abs_difference"],
        "parameters": model.num_parameters(),
        "device": saved["device"],
    }


if __name__ == "__main__":
    main()
