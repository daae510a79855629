"""The numbers that checks are made of: medians and windows of a run's records, with the steps that they stand for."""

import math
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from typing import Any

from megatron_recipe.diagnose.reading import LIFE, Record, RunFacts

LATE_SHARE, LATE_LEAST = 0.15, 4
"""The end of a run that counts as how it stands: this share of its records, and so many at least."""
SMOOTH = 5
"""Records of a running median."""
ENOUGH = 6
"""Records below which nothing is said about a course."""
USUAL_WARMUP = 0.02
"""The trainer's default of schedule.warmup_fraction."""
NORMAL = 1.4826
"""Of a median absolute deviation to a standard deviation."""


@dataclass(frozen=True)
class Points:
    """Finite values of one field, with their steps."""

    steps: list[int]
    values: list[float]

    def __len__(self) -> int:
        return len(self.values)

    @property
    def noise(self) -> float:
        """Robust standard deviation of a value around its neighbours; 0 with less than two."""
        steps = [abs(one - other) for one, other in pairwise(self.values)]
        return NORMAL * median(steps) / math.sqrt(2) if steps else 0.0

    @property
    def median(self) -> float:
        """Of the values, of which there is one at least."""
        return median(self.values)

    @property
    def span(self) -> tuple[int, int]:
        """First and last step."""
        return self.steps[0], self.steps[-1]

    def part(self, first: int, stop: int | None = None) -> "Points":
        """By place in the list."""
        return Points(self.steps[first:stop], self.values[first:stop])

    def after(self, step: int) -> "Points":
        """Those beyond a step."""
        first = next((place for place, one in enumerate(self.steps) if one > step), len(self.steps))
        return self.part(first)

    def late(self) -> "Points":
        """The end of the run."""
        return self.part(-max(LATE_LEAST, round(LATE_SHARE * len(self))))

    def smoothed(self, width: int = SMOOTH) -> "Points":
        """Running median of the last `width` values."""
        return Points(
            self.steps[width - 1 :],
            [median(self.values[end - width : end]) for end in range(width, len(self.values) + 1)],
        )


@dataclass(frozen=True)
class Signals:
    """Numbers of one run."""

    facts: RunFacts
    known: dict[tuple[str, ...], Points] = field(default_factory=dict)
    """Series that were asked for before."""

    def setting(self, section: str, name: str, default: Any = None) -> Any:
        """A value of config.yaml."""
        value = (self.facts.config.get(section) or {}).get(name)
        return default if value is None else value

    def points(self, *fields: str) -> Points:
        """Values over the training records, each of the first field that it has."""
        if fields not in self.known:
            steps, values = [], []
            for record in self.facts.train:
                value = next((record[name] for name in fields if record.get(name) is not None), None)
                if isinstance(value, int | float) and math.isfinite(value):
                    steps.append(record["step"])
                    values.append(float(value))
            self.known[fields] = Points(steps, values)
        return self.known[fields]

    def loss(self) -> Points:
        """Mean of the steps between records, where it was recorded."""
        return self.points("loss_mean", "loss")

    def events(self, *names: str) -> list[Record]:
        """Events of these names, in their order."""
        return [event for event in self.facts.events if event["event"] in names]

    @property
    def step(self) -> int:
        """Of the last training record; 0 without one."""
        return self.facts.train[-1]["step"] if self.facts.train else 0

    @property
    def warmup_steps(self) -> int:
        """Steps of the warm-up."""
        return round(self.setting("schedule", "warmup_fraction", USUAL_WARMUP) * self.setting("train", "steps", 0))

    @property
    def settled(self) -> int:
        """Step after which the course of a run is judged: its warm-up, and a twentieth of the steps at least."""
        return max(self.warmup_steps, self.step // 20)

    @property
    def vocabulary(self) -> int | None:
        """The tokenizer's; None where neither the configuration nor a dataset tells."""
        sizes = [(manifest.get("tokenizer") or {}).get("vocab_size") for manifest in self.facts.manifests]
        return self.setting("model", "vocab_size") or next((size for size in sizes if size), None)

    @property
    def tokens_per_step(self) -> int:
        """Of the full batch."""
        return int(
            self.setting("batch", "global_batch_size_samples", 0) * self.setting("model", "sequence_length_tokens", 0)
        )

    @property
    def on_gpu(self) -> bool:
        """Whether the run trains on GPUs, as far as it is known."""
        return self.facts.environment.get("device", "cpu") != "cpu"

    @property
    def from_weights(self) -> bool:
        """Whether it began with weights of another run."""
        return bool(self.setting("train", "init_from"))

    @property
    def last_life(self) -> str:
        """The last event of start, resume, stopped, end, failed; empty without one."""
        events = self.events(*LIFE)
        return events[-1]["event"] if events else ""

    @property
    def is_over(self) -> bool:
        """Whether the run ended or was stopped by itself."""
        return self.last_life in ("stopped", "end", "failed")

    @property
    def lost_share(self) -> float | None:
        """Share of the time that was paid for and left nothing, after kills and lost checkpoints; None: not known."""
        kept = [event["seconds"] for event in self.events("end", "stopped") if event.get("seconds") is not None]
        kept += self.points("seconds").values[-1:]
        if not kept or not self.facts.paid_seconds:
            return None
        # a checkpoint holds the seconds of the steps before it: those of steps that were done again count once
        return max(0.0, 1 - max(kept) / self.facts.paid_seconds)

    @property
    def step_seconds(self) -> float | None:
        """Median time of a step lately."""
        late = self.points("step_seconds").late()
        return late.median if len(late) else None
