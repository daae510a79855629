"""The curves of a comparison's runs: the mean over seeds and the band that they span, over tokens."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from megatron_recipe.files import read_jsonl
from megatron_recipe.report.comparison_file import FINISHED, Comparison, Setting
from megatron_recipe.report.run_files import Record, latest_pass
from megatron_recipe.report.series import Array, Series, smooth

FEWEST_POINTS = 2


@dataclass(frozen=True)
class SettingCurve:
    """What is drawn of one setting. Steps of the series are tokens."""

    label: str
    mean: Series | None
    """Over the finished seeds, at the tokens that all of them have."""
    low: Array
    high: Array
    """The lowest and the highest seed at the mean's points; both are the mean where there is one seed."""
    seeds: int
    alone: list[Series]
    """Curves that are in no mean: of runs that did not finish, or that have no points in common."""

    @property
    def all_series(self) -> list[Series]:
        """Every series that is drawn."""
        return [*([self.mean] if self.mean else []), *self.alone]


def setting_curves(comparison: Comparison, kind: str) -> list[SettingCurve]:
    """The curves of all settings: `train`, smoothed, or `validation`, the mean over the held-out sets.

    A setting whose runs have no such records has neither a mean nor a curve alone. DataError for a damaged record.
    """
    return [_setting_curve(setting, kind) for setting in comparison.settings]


def _setting_curve(setting: Setting, kind: str) -> SettingCurve:
    finished: list[Series] = []
    alone: list[Series] = []
    for run in setting.runs:
        curve = loss_over_tokens(run.folder, kind)
        if len(curve.finite) >= FEWEST_POINTS:
            (finished if run.state == FINISHED else alone).append(curve)
    tokens, losses = in_common(finished)
    if len(tokens) < FEWEST_POINTS:
        return SettingCurve(setting.label, None, np.array([]), np.array([]), 0, [*finished, *alone])
    mean = Series(tokens, losses.mean(axis=0))
    return SettingCurve(setting.label, mean, losses.min(axis=0), losses.max(axis=0), len(finished), alone)


def loss_over_tokens(run: Path, kind: str) -> Series:
    """Losses of a run over its tokens; empty where the run's folder or file is not there.

    Several held-out sets count as their mean, at the steps where all of them were measured.
    """
    path = run / "metrics.jsonl"
    logged: list[Record] = read_jsonl(path) if path.is_file() else []
    whole = [one for one in logged if all(one.get(name) is not None for name in ("kind", "step", "loss", "tokens"))]
    by_kind: dict[str, dict[float, float]] = {}
    for one in latest_pass(whole):
        if one["kind"].split("/")[0] == kind:
            by_kind.setdefault(one["kind"], {})[one["tokens"]] = one["loss"]
    sets = list(by_kind.values())
    tokens = [one for one in sets[0] if all(one in other for other in sets)] if sets else []
    losses = np.array([np.mean([values[one] for values in sets]) for one in tokens], dtype=np.float64)
    losses[~np.isfinite(losses)] = np.nan
    curve = Series(np.array(tokens, dtype=np.float64), losses)
    return smooth(curve) if kind == "train" else curve


def in_common(curves: list[Series]) -> tuple[Array, Array]:
    """The tokens [points] at which every curve has a finite value, and the values [curves, points]."""
    if not curves:
        return np.array([]), np.empty((0, 0))
    finite = [Series(curve.steps[np.isfinite(curve.values)], curve.finite) for curve in curves]
    shared = finite[0].steps
    for curve in finite[1:]:
        shared = np.intersect1d(shared, curve.steps)
    return shared, np.stack([curve.values[np.searchsorted(curve.steps, shared)] for curve in finite])
