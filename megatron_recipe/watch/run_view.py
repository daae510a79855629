"""What a run folder says about its run right now, kept up to date with as little reading as possible."""

import json
import math
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Literal

import yaml

from megatron_recipe.watch.curve import Curve
from megatron_recipe.watch.tail import Tail

if TYPE_CHECKING:  # only a few look at a run beside a reference, and it takes as long to load as all the rest
    from megatron_recipe.references.standing import Standing

Record = dict[str, Any]
StatusKind = Literal["waiting", "starting", "training", "silent", "stopped", "finished"]

CURVES = ("loss", "learning_rate", "tokens_per_second")
SILENT_AFTER_SECONDS = 180.0
SILENT_AFTER_RECORDS = 5
"""Records that should have come in the time of silence, where records are rarer than that."""
LIFE = ("start", "resume", "stopped", "end")
SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Status:
    """What the run is doing; `since` is a Unix time, 0 where it is not known."""

    kind: StatusKind
    since: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder: its marker, and what events.jsonl said about it."""

    step: int
    marker: Record
    saved: Record
    damage: str
    is_best: bool


class RunView:
    """The run in `folder`; `refresh` reads what is new. Files that are missing or damaged leave their part empty.

    With a `standing` its records are also counted by where they stand in the band of a reference.
    """

    def __init__(self, folder: Path, standing: "Standing | None" = None) -> None:
        self.folder, self.standing = folder, standing
        self.config: Record = {}
        self.environment: Record = {}
        self.spending: list[Record] = []
        self.checkpoints: list[Checkpoint] = []
        self.events: list[Record] = []
        self._metrics, self._events = Tail(folder / "metrics.jsonl"), Tail(folder / "events.jsonl")
        self._read_at: dict[Path, tuple[int, Any]] = {}
        self._forget_metrics()

    def _forget_metrics(self) -> None:
        self.curves = {name: Curve() for name in CURVES}
        self.train: Record = {}
        if self.standing:
            self.standing.forget()
        self._validated: dict[str, list[Record]] = {}
        """Records of each kind (`validation`, `validation/NAME`) that no rollback took back."""
        self.benchmarks: dict[str, Record] = {}
        """The latest record of each benchmark by its name."""
        self._step_seconds: deque[float] = deque(maxlen=20)

    def refresh(self) -> None:
        """Read what the run has written since the last time.

        Raises:
            ConfigError: it is another kind of run than the reference's.
        """
        anew, records = self._metrics.look()
        if anew:
            self._forget_metrics()
        for record in records:
            self._take(record)
        anew, events = self._events.look()
        self.events = [] if anew else self.events
        self.events += events
        self.config = self._settings("config.yaml")
        self.environment = self._settings("environment.json")
        instances = self._settings("spending.json").get("instances")
        self.spending = [one for one in instances if isinstance(one, dict)] if isinstance(instances, list) else []
        self.checkpoints = self._checkpoints()
        if self.standing:
            self.standing.check(self.folder, self.config, self.environment)
            self.curves["loss"].shown_to = self.standing.shown_to(self.train.get("step") or 0)

    def _take(self, record: Record) -> None:
        kind, step = str(record.get("kind")), record.get("step")
        if not isinstance(step, int | float):
            return
        if kind == "train":
            if step <= (number(self.train.get("step")) or -1):  # taken back: what was measured behind it is void
                self._forget_from(step)
            self.train = record
            for name, curve in self.curves.items():
                curve.add(step, number(record.get(name), math.nan))
            if self.standing:
                self.standing.add(int(step), number(record.get("loss"), math.nan))
            if (seconds := number(record.get("step_seconds"))) is not None:
                self._step_seconds.append(seconds)
        elif kind.startswith("eval/"):
            self.benchmarks[kind.removeprefix("eval/")] = record
        elif kind.startswith("validation"):
            self._validated.setdefault(kind, []).append(record)

    def _forget_from(self, step: float) -> None:
        """A rollback: forget validations of steps that are done again."""
        self._validated = {kind: [one for one in some if one["step"] < step] for kind, some in self._validated.items()}
        self.benchmarks = {name: one for name, one in self.benchmarks.items() if one["step"] < step}

    @property
    def best_validation(self) -> Record:
        """The lowest held-out loss of the mix; empty where there is none."""
        finite = [one for one in self._validated.get("validation", ()) if number(one.get("loss")) is not None]
        return min(finite, key=lambda one: float(one["loss"]), default={})

    @property
    def validations(self) -> dict[str, Record]:
        """The latest record of each kind."""
        return {kind: some[-1] for kind, some in self._validated.items() if some}

    def _settings(self, name: str) -> Record:
        """A YAML or JSON file, read again only when it was written again; what cannot be read is what it was before."""
        path = self.folder / name
        try:
            written = path.stat().st_mtime_ns
            before = self._read_at.get(path)
            if before is None or before[0] != written:
                text = path.read_text(encoding="utf-8")
                value = yaml.safe_load(text) if path.suffix == ".yaml" else json.loads(text)
                self._read_at[path] = written, value
        except (OSError, ValueError, yaml.YAMLError):
            pass
        value = self._read_at.get(path, (0, {}))[1]
        return value if isinstance(value, dict) else {}

    def _checkpoints(self) -> list[Checkpoint]:
        saved = {event.get("step"): event for event in self.events if event.get("event") == "checkpoint_saved"}
        damaged = {
            Path(str(event.get("folder"))).name: str(event.get("reason", ""))
            for event in self.events
            if event.get("event") == "checkpoint_damaged"
        }
        markers: dict[str, Record] = {}
        for path in sorted((self.folder / "checkpoints").glob("step_*/checkpoint.json")):
            markers[path.parent.name] = self._settings(str(path.relative_to(self.folder)))
        losses = {name: number(marker.get("validation_loss"), math.inf) for name, marker in markers.items()}
        best = min(losses, key=lambda name: losses[name], default="")
        return [
            Checkpoint(
                step := int(name.removeprefix("step_")),
                marker,
                saved.get(step, {}),
                damaged.get(name, ""),
                name == best and math.isfinite(losses[name]),
            )
            for name, marker in markers.items()
            if name.removeprefix("step_").isdigit()
        ]

    def section(self, name: str) -> Record:
        """A section of the configuration; empty where it is not there."""
        value = self.config.get(name)
        return value if isinstance(value, dict) else {}

    def step_seconds(self) -> float | None:
        """Seconds of a step lately."""
        return median(self._step_seconds) if self._step_seconds else None

    def status(self, now: float) -> Status:
        """What the run is doing at the Unix time `now`, judged by its last event and the last sign of life."""
        lives = [event for event in self.events if event.get("event") in LIFE]
        last = lives[-1] if lives else {}
        heard = self.last_sign()
        if last.get("event") == "end":
            return Status("finished", heard)
        if last.get("event") == "stopped":
            return Status("stopped", heard, str(last.get("reason") or ""))
        if not heard:
            return Status("waiting")
        records = (self.step_seconds() or 0.0) * number(self.section("train").get("log_every_steps"), 10.0)
        if now - heard > max(SILENT_AFTER_SECONDS, SILENT_AFTER_RECORDS * records):
            return Status("silent", heard)
        return Status("training" if self.train else "starting", heard)

    def last_sign(self) -> float:
        """Unix time at which the run wrote something last; 0 if it never has."""
        written = [0.0]
        for name in ("metrics.jsonl", "events.jsonl", "spending.json"):
            try:
                written.append((self.folder / name).stat().st_mtime)
            except OSError:
                continue
        return max(written)

    def spent(self, unit: str) -> float | None:
        """What the run has used so far in `unit` (cny, usd, hours, seconds or tokens); None where it is not known."""
        if unit == "tokens":
            return number(self.train.get("tokens"))
        if unit in ("cny", "usd"):
            return self._paid(unit) if self.spending else number(self.train.get("cost_so_far"))
        times = [number(one.get("seconds"), 0.0) for one in self.spending]
        seconds = sum(times) if times else number(self.train.get("seconds"))
        return seconds if seconds is None or unit == "seconds" else seconds / SECONDS_PER_HOUR

    @property
    def currency(self) -> str | None:
        """Of the prices that the run noted, where all have one; else that of its budget."""
        noted = {one.get("currency") for one in self.spending if number(one.get("price_per_hour"))}
        chosen = noted.pop() if len(noted) == 1 else self.section("budget").get("currency")
        return chosen if chosen in ("cny", "usd") else None

    def _paid(self, currency: str) -> float | None:
        """What all processes cost; None where one has no price, or one in another currency."""
        cost = 0.0
        for one in self.spending:
            price = number(one.get("price_per_hour"))
            if not price or one.get("currency", currency) != currency:
                return None
            cost += number(one.get("seconds"), 0.0) * price
        return cost / SECONDS_PER_HOUR

    def progress(self) -> float | None:
        """Share of the run that is done, between 0 and 1: of its budget where it has one, else of its steps."""
        budget, steps = self.section("budget"), number(self.section("train").get("steps"))
        amount = number(budget.get("amount"), 0.0)
        spent = self.spent(str(budget.get("unit"))) if amount else None
        if amount and spent is not None:
            return min(spent / amount, 1.0)
        return min(number(self.train.get("step"), 0.0) / steps, 1.0) if steps else None

    def seconds_left(self, now: float) -> float | None:
        """Time to the end of the run, from its own estimate or the steps that are left."""
        estimate = number(self.train.get("eta_seconds"))
        if estimate is None and not number(self.section("budget").get("amount"), 0.0):
            steps, each = number(self.section("train").get("steps")), self.step_seconds()
            if steps is not None and each is not None:
                estimate = (steps - number(self.train.get("step"), 0.0)) * each
        return None if estimate is None else max(estimate - max(now - self.last_sign(), 0.0), 0.0)


def number(value: Any, default: Any = None) -> Any:
    """`value` if it is a number that is finite, else `default`."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return value if is_number else default
