"""Whether `lab compare` says what is true: settings that are equal, and settings that are not, as real runs.

    python -m benchmarks.comparisons --out OUT --dataset DATASET                    # 20 repetitions, minutes on a CPU
    python -m benchmarks.comparisons --out OUT --dataset DATASET --repetitions 3 --planted 1

Each repetition is a comparison of its own by the command's own code, on the tiny recipe made smaller, of two settings
with three seeds each, at 99 % intervals. Equal: the settings are the same in everything but their seeds, which no two
runs share, so that any difference "shown" is a false alarm; at least 19 of 20 have to say "no difference shown".
Planted: one of them trains at a quarter of the learning rate, and every repetition has to find it. With `--shared` the
settings of a planted repetition have the same seeds, and are compared seed by seed.

Finished runs stay in OUT; the same command goes on. OUT/comparisons.json is written at the end. Prints a line for each
repetition and last `equal= false_alarms= planted= found= runs= seconds=`. Exit code 1 where a promise is not kept.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import yaml

from megatron_recipe.files import write_json
from megatron_recipe.lab.asked import Asked
from megatron_recipe.lab.compare_command import compare_command
from megatron_recipe.lab.result import RESULT
from megatron_recipe.lab.wording import conclusion_text

SMALLER = {
    "model.num_layers": 2,
    "model.hidden_size": 64,
    "model.ffn_hidden_size": 96,
    "model.num_heads": 4,
    "model.num_kv_groups": 2,
    "model.head_dim": 16,
    "model.sequence_length_tokens": 64,
    "train.validation_samples": 64,
    "train.validate_every_steps": 0,
}
TOKENS_PER_RUN = 30_720
SEEDS = 3
CONFIDENCE = 0.99
PEAK, PLANTED_PEAK = 4.0e-3, 1.0e-3
MOST_FALSE_ALARMS = 1 / 20


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="a folder for the comparisons")
    parser.add_argument("--dataset", required=True, help="a folder of `megatron-recipe data prepare`")
    parser.add_argument("--repetitions", type=int, default=20, help="of the comparison of equal settings")
    parser.add_argument("--planted", type=int, default=5, help="repetitions with a planted difference")
    parser.add_argument("--shared", action="store_true", help="planted repetitions share their seeds")
    parser.add_argument("--jobs", type=int, default=None, help="runs at a time; default one a core")
    return parser.parse_args()


def repetition(number: int, options: argparse.Namespace, *, planted: bool) -> dict[str, Any]:
    """Run one comparison; returns what it says of the pair."""
    kind = "planted" if planted else "equal"
    folder = options.out / f"{kind}{number:02d}"
    first = 1000 * planted + 2 * SEEDS * number + 1
    a = list(range(first, first + SEEDS))
    b = a if planted and options.shared else [seed + SEEDS for seed in a]
    peaks = (PEAK, PLANTED_PEAK if planted else PEAK)
    settings = [
        {"label": label, "seeds": seeds, "overrides": {"schedule.peak_learning_rate": peak}}
        for label, seeds, peak in zip("ab", (a, b), peaks, strict=True)
    ]
    file = options.out / f"{kind}{number:02d}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    values = {"overrides": SMALLER, "settings": settings, "tokens_per_run": TOKENS_PER_RUN, "confidence": CONFIDENCE}
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    code = compare_command(Asked(name=str(file), dataset=options.dataset, out=folder, jobs=options.jobs, gpus=0))
    if code:
        sys.exit(code)
    result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    (pair,) = (one for one in result["pairs"] if one["measure"] == "validation_loss")
    (says, *_) = (conclusion_text(one, "en") for one in result["conclusions"])
    found = {"kind": kind, "number": number, **pair, "says": says}
    interval = f"[{pair['low']:+.4f}, {pair['high']:+.4f}]"
    print(f"{kind} {number}: {pair['difference']:+.4f} {interval} {says}", flush=True)
    return found


def main() -> int:
    """All repetitions; returns the exit code."""
    options, began = arguments(), time.monotonic()
    found = [repetition(number, options, planted=False) for number in range(options.repetitions)]
    found += [repetition(number, options, planted=True) for number in range(options.planted)]
    seconds = time.monotonic() - began
    write_json(options.out / "comparisons.json", {"seconds": seconds, "repetitions": found})
    alarms = sum(one["shown"] for one in found if one["kind"] == "equal")
    hits = sum(one["shown"] and one["difference"] < 0 for one in found if one["kind"] == "planted")
    print(
        f"equal={options.repetitions} false_alarms={alarms} planted={options.planted} found={hits} "
        f"runs={2 * SEEDS * len(found)} seconds={seconds:.0f}"
    )
    return int(alarms > MOST_FALSE_ALARMS * options.repetitions or hits < options.planted)


if __name__ == "__main__":
    sys.exit(main())
