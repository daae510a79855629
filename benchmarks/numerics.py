"""Does a setting that makes a run faster change what it learns? Loss curves of the same data and seed, side by side.

    python -m benchmarks.numerics --data DATASET --recipe gpt_100m --steps 200 --out numerics \\
        --run plain kernels.layer=engine,kernels.loss=megatron \\
        --run noise kernels.layer=engine,kernels.loss=megatron,batch.micro_batch_size_samples=2 \\
        --run fused kernels.layer=fused

Each `--run NAME SETTINGS` is a run of the real trainer; the first is what the others are compared with, the second says
what rounding alone does: the same arithmetic, added up in another order. `--same NAME …` names more that compute the
same: noise is the largest distance between any two of these. `--step-tokens` (32,768) sets the batch,
`--set` a setting of all, `--at-once` how many share the GPU: a curve does not depend on the time that it takes. The
learning rate must be one at which the run is calm: where the loss spikes, rounding grows as large as anything.

Prints for each run the mean loss over the last tenth of the steps, its distance from the first run's, the largest
distance of the two curves after smoothing over `--smooth` steps, and the same from the nearest run that computes the
same; draws OUT/numerics.png; and last `recipe= steps= runs= noise= largest= nearest=`, the largest distances of the
settings under test relative to the loss. Exit code 1 where one is above `--most` (1 %) of the first run.
"""

import argparse
import itertools
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megatron_recipe.recipes import load_config

ROOT = Path(__file__).resolve().parent.parent
QUIET = (
    "train.log_every_steps=1",
    "train.validate_every_steps=0",
    "train.validation_samples=0",
    "checkpoint.save_every_steps=0",
    "checkpoint.save_every_minutes=0",
    "logging.tensorboard=false",
)


@dataclass(frozen=True)
class Curve:
    """Losses of one run, a step each."""

    name: str
    losses: list[float]

    def smoothed(self, width: int) -> list[float]:
        """Means of `width` losses that follow each other."""
        return [sum(self.losses[at : at + width]) / width for at in range(len(self.losses) - width + 1)]

    def end(self) -> float:
        """Mean of the last tenth."""
        last = max(1, len(self.losses) // 10)
        return sum(self.losses[-last:]) / last


def largest_distance(curve: Curve, reference: Curve, width: int) -> float:
    """Between two smoothed curves, relative to the reference."""
    pairs = zip(curve.smoothed(width), reference.smoothed(width), strict=True)
    return max(abs(one / other - 1) for one, other in pairs)


def train(name: str, settings: str, options: argparse.Namespace) -> Curve:
    """One run to its end."""
    length = load_config(options.recipe).model.sequence_length_tokens
    overrides = [
        f"data.datasets={options.data}",
        f"train.steps={options.steps}",
        f"batch.global_batch_size_samples={options.step_tokens // length}",
        *QUIET,
        *options.common,
        *(setting for setting in settings.split(",") if setting),
    ]
    folder = options.out / name
    command = [sys.executable, "-m", "megatron_recipe.cli", "train", options.recipe, "--run-dir", str(folder)]
    command += [word for override in overrides for word in ("--set", override)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{name} ended with {done.returncode}: {done.stderr[-2000:]}")
    records = (json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return Curve(name, [record["loss"] for record in records if record["kind"] == "train"])


def draw(curves: list[Curve], options: argparse.Namespace) -> None:
    """Losses above, distances from the first curve below."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, figsize=(9, 7), sharex=True, height_ratios=[2, 1])
    reference = curves[0].smoothed(options.smooth)
    steps = range(options.smooth, options.smooth + len(reference))
    for curve in curves:
        losses = curve.smoothed(options.smooth)
        above.plot(steps, losses, label=curve.name, linewidth=1)
        below.plot(steps, [100 * (one / other - 1) for one, other in zip(losses, reference, strict=True)], linewidth=1)
    above.set_ylabel("training loss (nats)")
    above.set_title(f"{options.recipe}, {options.step_tokens:,} tokens a step, mean of {options.smooth} steps")
    above.legend()
    below.set_ylabel(f"% from {curves[0].name}")
    below.set_xlabel("step")
    figure.tight_layout()
    figure.savefig(options.out / "numerics.png", dpi=110)


def report(curves: list[Curve], options: argparse.Namespace) -> int:
    """The table and the last line."""
    first, second = curves[0], curves[1]
    same = [curve for curve in curves if curve.name in {first.name, second.name, *options.same}]
    largest, nearest = {}, {}
    print(f"{'run':16} {'final loss':>10} {'from first':>10} {'largest':>9} {'nearest':>9}")
    for curve in curves:
        distances = {other.name: largest_distance(curve, other, options.smooth) for other in same if other != curve}
        largest[curve.name] = distances.get(first.name, 0.0)
        nearest[curve.name] = min(distances.values())
        row = f"{curve.name:16} {curve.end():10.4f} {curve.end() / first.end() - 1:10.3%}"
        print(f"{row} {largest[curve.name]:9.3%} {nearest[curve.name]:9.3%}")
    noise = max(largest_distance(*pair, options.smooth) for pair in itertools.permutations(same, 2))
    under_test = [curve.name for curve in curves if curve not in same]
    most, far = (max((of[name] for name in under_test), default=0.0) for of in (largest, nearest))
    names = ",".join(curve.name for curve in curves)
    print(
        f"recipe={options.recipe} steps={options.steps} runs={names} noise={noise:.4f} largest={most:.4f} "
        f"nearest={far:.4f}"
    )
    return int(most > options.most)


def main() -> int:
    """Train, draw, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="A prepared dataset.")
    parser.add_argument("--recipe", default="gpt_100m")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--set", dest="common", action="append", default=[], metavar="section.field=value")
    parser.add_argument("--step-tokens", type=int, default=32_768)
    parser.add_argument("--smooth", type=int, default=10)
    parser.add_argument("--most", type=float, default=0.01)
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("work/numerics"))
    parser.add_argument("--run", nargs=2, action="append", required=True, metavar=("NAME", "SETTINGS"))
    parser.add_argument("--same", nargs="+", default=[], metavar="NAME", help="runs that compute what the first does")
    options = parser.parse_args()
    if len(options.run) < 2:
        parser.error("two --run or more: the first is compared with, the second says what rounding does")
    if unknown := set(options.same) - {name for name, _ in options.run}:
        parser.error(f"--same {sorted(unknown)[0]}: no --run has this name")
    options.out.mkdir(parents=True, exist_ok=True)
    curves: list[Curve] = []
    facts: dict[str, Any] = {}
    with ThreadPoolExecutor(options.at_once) as pool:
        for (name, settings), curve in zip(
            options.run, pool.map(lambda run: train(*run, options), options.run), strict=True
        ):
            curves.append(curve)
            facts[name] = {"settings": settings, "losses": curve.losses}
            (options.out / "numerics.json").write_text(json.dumps(facts), encoding="utf-8")
            print(f"{name}: loss {curve.losses[0]:.4f} to {curve.end():.4f}", flush=True)
    draw(curves, options)
    return report(curves, options)


if __name__ == "__main__":
    sys.exit(main())
