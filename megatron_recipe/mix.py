"""The mix of a run: which corpus each position of the data's order draws from, and which of its samples.

A phase has its own weights from one position on. Each corpus counts its samples over all phases, so a change of phase
repeats none and loses none. Phases are bound to positions: their `from_step` is counted without skips, and a run that
left samples out comes to the phase some steps earlier.
"""

import itertools
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from megatron_recipe.batch_schedule import samples_before
from megatron_recipe.config import Config, DatasetWeight

Place = tuple[int, int]
"""A corpus, by its number, and a position in its own order."""
SMALLEST_BLEND = 4096


@dataclass(frozen=True)
class Phase:
    """A stretch of the order with constant weights."""

    first: int
    """Its first position; it ends where the next phase begins."""
    weights: dict[int, float]
    """Share of each corpus, by its number, relative to the other weights."""


class Blend:
    """Megatron's choice of a corpus for each sample: always the one that lags most behind its share.

    The choice of a sample depends on those before it alone, so a longer blend begins with the shorter one.
    """

    def __init__(self, weights: Sequence[float]) -> None:
        import numpy as np  # here: rules on phases are checked without it, at once

        self.shares = np.array(weights, dtype=np.float64) / sum(weights)
        self._which = np.zeros(0, dtype=np.int16)
        self._number = np.zeros(0, dtype=np.int64)

    def at(self, sample: int) -> tuple[int, int]:
        """The corpus of a sample, as a place in `weights`, and how many samples that corpus gave before."""
        if len(self.shares) == 1:
            return 0, sample
        self._grow(sample + 1)
        return int(self._which[sample]), int(self._number[sample])

    def counts(self, samples: int) -> list[int]:
        """How many of the first `samples` each corpus gives."""
        if len(self.shares) == 1:
            return [samples]
        self._grow(samples)
        import numpy as np

        return np.bincount(self._which[:samples], minlength=len(self.shares)).tolist()

    def _grow(self, samples: int) -> None:
        if samples <= len(self._which):
            return
        import numpy as np
        from megatron.core.datasets import helpers  # seconds of loading, for what needs no more than arithmetic above

        size = max(samples, 2 * len(self._which), SMALLEST_BLEND)
        self._which, self._number = np.zeros(size, dtype=np.int16), np.zeros(size, dtype=np.int64)
        helpers.build_blending_indices(self._which, self._number, self.shares, len(self.shares), size, False)


class Mix:
    """Maps positions to places.

    Args:
        phases: in the order of their first positions, which begin at 0.
        corpora: how many there are.
    """

    def __init__(self, phases: Sequence[Phase], corpora: int) -> None:
        self.phases = phases
        self.corpora = corpora
        self._firsts = [phase.first for phase in phases]
        self._blends = [Blend(list(phase.weights.values())) for phase in phases]
        self._drawn = [[0] * corpora]
        for number, (phase, following) in enumerate(itertools.pairwise(phases)):
            self._drawn.append(self._after(number, following.first - phase.first))

    def locate(self, position: int) -> Place:
        """The place of a position."""
        number = bisect_right(self._firsts, position) - 1
        phase = self.phases[number]
        which, sample = self._blends[number].at(position - phase.first)
        corpus = list(phase.weights)[which]
        return corpus, self._drawn[number][corpus] + sample

    def drawn(self, position: int) -> list[int]:
        """How many samples each corpus gives to the positions before `position`."""
        number = max(0, bisect_right(self._firsts, position) - 1)
        return self._after(number, position - self._firsts[number])

    def _after(self, number: int, samples: int) -> list[int]:
        """Samples of each corpus up to the first `samples` of a phase."""
        drawn = list(self._drawn[number])
        counts = self._blends[number].counts(samples)
        for corpus, count in zip(self.phases[number].weights, counts, strict=True):
            drawn[corpus] += count
        return drawn


def corpus_paths(config: Config) -> list[str]:
    """Dataset folders of the mix over all phases, each once; a place in this list is the corpus's number."""
    return list(dict.fromkeys(dataset.path for _, datasets in _stretches(config) for dataset in datasets))


def phases_of(config: Config) -> list[Phase]:
    """The phases of a configuration; a dataset that a phase names twice has the sum of its weights."""
    paths = corpus_paths(config)
    phases = []
    for from_step, datasets in _stretches(config):
        weights: dict[int, float] = {}
        for dataset in datasets:
            number = paths.index(dataset.path)
            weights[number] = weights.get(number, 0.0) + dataset.weight
        phases.append(Phase(samples_before(config.batch, from_step), weights))
    return phases


def mix_of(config: Config) -> Mix:
    """The mix that a configuration describes."""
    return Mix(phases_of(config), len(corpus_paths(config)))


def _stretches(config: Config) -> Iterator[tuple[int, list[DatasetWeight]]]:
    yield 0, config.data.datasets
    yield from ((phase.from_step, phase.datasets) for phase in config.data.phases)


def phase_problems(config: Config) -> Iterator[str]:
    """Messages for phases that are out of order or never begin."""
    before = 0
    for number, phase in enumerate(config.data.phases):
        name = f"data.phases.{number}.from_step={phase.from_step}"
        if phase.from_step <= before:
            yield f"{name} must be greater than the step of the phase before it, {before}; order phases by their steps"
        elif phase.from_step >= config.train.steps and not config.budget.amount:
            yield f"{name} must be less than train.steps={config.train.steps}, or it never begins; remove the phase"
        before = max(before, phase.from_step)


def changed_order(before: Config, now: Config, position: int, checksums: Mapping[str, str] | None = None) -> list[str]:
    """What differs between two configurations in the order of the data before `position`: "field: old, new" each.

    Phases that begin at `position` or later may be added, changed and removed.

    Args:
        checksums: of the training tokens by dataset folder, where known: a folder that was moved is then no change.
    """
    if not position:
        return []
    changed = [
        f"{name}: {value(before)} before, {value(now)} now"
        for name, value in (
            ("data.seed", lambda config: config.data.seed),
            ("model.sequence_length_tokens", lambda config: config.model.sequence_length_tokens),
        )
        if value(before) != value(now)
    ]
    if _past(before, position, checksums or {}) != _past(now, position, checksums or {}):
        phases = (_past(config, position, {}) for config in (before, now))
        changed.append("data.datasets and data.phases: {} before, {} now".format(*map("; ".join, phases)))
    return changed


def _past(config: Config, position: int, checksums: Mapping[str, str]) -> list[str]:
    """The phases that begin before a position, as texts: equal texts are equal orders."""
    paths = corpus_paths(config)
    texts = []
    for phase in phases_of(config):
        if phase.first < position:
            total = sum(phase.weights.values())
            shares = (
                f"{weight / total:.9g} of {checksums.get(paths[corpus], paths[corpus])}"
                for corpus, weight in phase.weights.items()
            )
            texts.append(f"from sample {phase.first} {', '.join(shares)}")
    return texts
