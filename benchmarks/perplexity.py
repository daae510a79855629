"""Held-out loss by `eval perplexity` against lm-eval's rolling loglikelihood: same model, same text, same windows.

Run: python -m benchmarks.perplexity MODEL TEXT.jsonl --threads 1

MODEL is a Hugging Face folder; TEXT.jsonl has a document in each line ({"text": …}). Both read each document by
itself after an end-of-document, in windows of the model's sequence length, in FP32 on the CPU, and both tokenize.
Losses must agree to 1e-4 nats a token. Each way is timed alone, model loaded, best of --repeats.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np


def main() -> None:
    """Print tokens, loss, seconds and the factor between them for each batch size of lm-eval."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--dtype", default="float32", help="lm-eval's; auto is its default: the folder's own type")
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(arguments.threads)
    lines = arguments.text.read_text(encoding="utf-8").splitlines()[: arguments.documents]
    texts = [json.loads(line)["text"] for line in lines]
    ours, tokens = our_way(arguments.model, texts)
    loss, seconds = timed(ours, arguments.repeats)
    print(f"{len(texts)} documents, {tokens:,} tokens, {arguments.threads} threads, lm-eval dtype {arguments.dtype}")
    print(f"{'way':<32}{'nats':>14}{'seconds':>10}{'factor':>8}")
    print(f"{'eval perplexity --by-document':<32}{loss:>14.4f}{seconds:>10.2f}")
    for batch_size in (1, 8):
        other, other_seconds = timed(their_way(arguments.model, texts, batch_size, arguments.dtype), arguments.repeats)
        factor = other_seconds / seconds
        print(f"{f'lm-eval, batch size {batch_size}':<32}{other:>14.4f}{other_seconds:>10.2f}{factor:>8.2f}")
        if arguments.dtype == "float32":
            assert abs(loss - other) / tokens < 1e-4, (loss, other)


def our_way(model_dir: Path, texts: list[str]) -> tuple[Callable[[], float], int]:
    """A function that gives the sum of all losses in nats; and the number of tokens."""
    import torch

    from checkpoints_tools.hf_folder import load_hf_model, load_hf_tokenizer
    from eval.windows import token_losses

    tokenizer = load_hf_tokenizer(model_dir)
    model = load_hf_model(model_dir, torch.float32)
    length = model.config.max_position_embeddings

    def streams() -> list[np.ndarray]:
        encoded = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        return [np.array([tokenizer.eos_token_id, *ids]) for ids in encoded]

    def run() -> float:
        return float(sum(losses.sum() for losses in token_losses(model, streams(), length, length, batch_size=8)))

    return run, sum(len(one) - 1 for one in streams())


def their_way(model_dir: Path, texts: list[str], batch_size: int, dtype: str) -> Callable[[], float]:
    """The same by lm-eval."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    model = HFLM(pretrained=str(model_dir.absolute()), dtype=dtype, device="cpu", batch_size=batch_size)

    def run() -> float:
        requests = [Instance("loglikelihood_rolling", {}, (text,), index) for index, text in enumerate(texts)]
        return -sum(model.loglikelihood_rolling(requests, disable_tqdm=True))

    return run


def timed(run: Callable[[], float], repeats: int) -> tuple[float, float]:
    """What it gives, and the shortest of some times in seconds of processor time: others may use the machine too."""
    seconds = []
    for _ in range(repeats):
        began = time.process_time()
        result = run()
        seconds.append(time.process_time() - began)
    return result, min(seconds)


if __name__ == "__main__":
    main()
