"""The ledger: every task with the evidence that was found for it, what is due, and the figures of the runs."""

from dataclasses import dataclass
from datetime import date
from functools import cached_property

from megatron_recipe.month.evidence import Found, look
from megatron_recipe.month.folder import Folder
from megatron_recipe.month.money import Spent, spent
from megatron_recipe.month.month_file import DAYS, Month
from megatron_recipe.month.of_experiments import incident_names
from megatron_recipe.month.tasks import Task, all_tasks, weeks

FIGURES = ("speed:main", "spike:main", "resumed:main", "feeding:main", "bill:main", "checkpoints:main")
"""Evidence that belongs to no task alone: what the quiz asks about."""


@dataclass(frozen=True)
class Entry:
    """One task and its state."""

    task: Task
    week: int
    found: dict[str, Found | None]
    """What was looked for, as the task names it."""
    said: date | None
    """The day on which the user said that it is done."""

    @property
    def missing(self) -> list[str]:
        """Evidence that was not found."""
        return [name for name, found in self.found.items() if found is None]

    @property
    def is_done(self) -> bool:
        """All evidence is there, and the user's word where it is asked for."""
        return not self.missing and (self.task.said is None or self.said is not None)


class Ledger:
    """The state of the month on one day."""

    def __init__(self, folder: Folder, today: date) -> None:
        self.folder, self.today = folder, today
        self._looked: dict[str, Found | None] = {}
        numbers = {task.id: number for number, week in enumerate(weeks()) for task in week.tasks}
        self.entries = [
            Entry(
                task=task,
                week=numbers[task.id],
                found={name: self.look(name) for name in task.evidence},
                said=folder.month.said.get(task.id),
            )
            for task in all_tasks()
        ]

    @property
    def month(self) -> Month:
        """The user's decisions."""
        return self.folder.month

    def look(self, name: str) -> Found | None:
        """Evidence by name, looked for once."""
        if name not in self._looked:
            self._looked[name] = look(name, self.folder)
        return self._looked[name]

    @property
    def open(self) -> list[Entry]:
        """Tasks that are not done, in their order."""
        return [entry for entry in self.entries if not entry.is_done]

    @property
    def current(self) -> Entry | None:
        """The task of the day: the first that is open; in miniature without those that need a GPU, while others are."""
        here = [entry for entry in self.open if not (entry.task.needs_gpu and self.month.scale == "miniature")]
        return next(iter(here), None)

    def due_day(self, task: Task) -> int:
        """Day of this month on which a task is due; the plan's 30 days are stretched over its length."""
        return max(1, round(task.day * self.month.days / DAYS))

    @property
    def week_by_calendar(self) -> int:
        """Number of the stage that today belongs to."""
        day = self.month.day_of(self.today)
        begun = [entry.week for entry in self.entries if self.due_day(entry.task) <= day]
        return begun[-1] if begun else 0

    @property
    def behind(self) -> list[Entry]:
        """Open tasks that were due before today."""
        day = self.month.day_of(self.today)
        return [entry for entry in self.open if self.due_day(entry.task) < day]

    @cached_property
    def spent(self) -> Spent:
        """What the runs have cost."""
        return spent(self.folder)

    @property
    def gpu_hours_open(self) -> float:
        """GPU time that the open tasks need."""
        return sum(entry.task.gpu_hours for entry in self.open)

    @cached_property
    def figures(self) -> list[Found]:
        """Figures of the runs that no task asks for by itself, and of the incidents beyond the plan's."""
        asked = {name for entry in self.entries for name in entry.found}
        names = [*FIGURES, *(f"incident:{name}" for name in incident_names(self.folder))]
        return [found for name in names if name not in asked and (found := self.look(name))]

    @property
    def evidence(self) -> list[Found]:
        """All that was found, each once."""
        found = [one for entry in self.entries for one in entry.found.values() if one]
        unique: dict[tuple[str, str, str], Found] = {}
        for one in [*found, *self.figures]:
            unique.setdefault((one.kind, one.file, str(one.values.get("name", ""))), one)
        return list(unique.values())
