"""Where a run stands in the band of a reference: how many of its records lie inside, and where the last ones lie."""

from array import array
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from megatron_recipe.references import Reference, read_reference
from megatron_recipe.references.comparable import check_comparable, datasets_of, other_text

Place = Literal["inside", "above", "below"]
PLACES: tuple[Place, ...] = ("inside", "above", "below")
LATELY = 10
"""Records that the last place is judged by: at the usual share inside, half of them beyond one edge is no chance."""


@dataclass
class Standing:
    """A run's records beside a reference, counted as they come; what a rollback takes back is not counted."""

    reference: Reference
    other_text: bool = False
    """The run is known to train on other text than the reference."""
    _is_checked: bool = False
    _steps: array[int] = field(default_factory=lambda: array("q"))
    _places: array[int] = field(default_factory=lambda: array("b"))

    def check(self, folder: Path, config: dict[str, Any], environment: dict[str, Any]) -> None:
        """Look once, as soon as the run has written them, whether its settings are the reference's.

        Args:
            folder: of the run.
            config: what its config.yaml says; empty before it is there.
            environment: what its environment.json says, likewise.

        Raises:
            ConfigError: they are others.
        """
        if self._is_checked or not config:
            return
        check_comparable(self.reference, folder, config, environment.get("parameters"))
        self.other_text = other_text(self.reference, datasets_of(config, folder))
        self._is_checked = bool(environment)

    def shown_to(self, step: float) -> float:
        """The step to which the band is worth drawing for a run at `step`: as far ahead as the run has come."""
        return min(2 * step, self.reference.steps[-1])

    def forget(self) -> None:
        """Begin to count anew."""
        self._steps, self._places = array("q"), array("b")

    def add(self, step: int, loss: float) -> None:
        """The loss of a record at `step`, in nats; beyond the reference's steps it is not counted, and NaN is above."""
        while self._steps and self._steps[-1] >= step:
            self._steps.pop()
            self._places.pop()
        band = self.reference.band_at(step)
        if band is None:
            return
        place: Place = "below" if loss < band[0] else "inside" if loss <= band[1] else "above"
        self._steps.append(step)
        self._places.append(PLACES.index(place))

    @property
    def records(self) -> int:
        """How many were counted."""
        return len(self._places)

    @property
    def inside(self) -> float | None:
        """Share of them inside the band; None before the first."""
        return self._places.count(PLACES.index("inside")) / self.records if self.records else None

    @property
    def lately(self) -> Place | None:
        """Where the last records lie; inside unless half of them lie beyond one edge. None before there are enough."""
        if self.records < LATELY:
            return None
        counts = Counter(PLACES[place] for place in self._places[-LATELY:])
        place, count = max(((place, counts[place]) for place in PLACES[1:]), key=lambda pair: pair[1])
        return place if 2 * count >= LATELY else "inside"


def standing_in(name_or_file: str | None) -> Standing | None:
    """The standing in the reference of that name or file, of a run without records yet; None where none is asked for.

    Raises:
        ConfigError: there is no such reference.
    """
    return Standing(read_reference(name_or_file)) if name_or_file else None
