"""What `megatron-recipe today` prints: the task of the day, or the whole ledger; and the same as plain values."""

from collections.abc import Iterator, Sequence
from typing import Any

from megatron_recipe.month.ledger import Entry, Ledger
from megatron_recipe.month.quiz import Question
from megatron_recipe.month.strings import LEDGER, evidence_text, wanted_text
from megatron_recipe.month.tasks import commands_of, filled, weeks

WIDTH_OF_A_FILE = 120
NEXT_TASKS = 3
MARKS = {True: "✓", False: "·"}


class Page:
    """Prints in one language to standard output."""

    def __init__(self, ledger: Ledger, lang: str) -> None:
        from rich.console import Console

        self.ledger, self.lang, self.words = ledger, lang, LEDGER[lang]
        self.console = Console(highlight=False, markup=False)
        if not self.console.is_terminal:
            self.console.width = WIDTH_OF_A_FILE

    def line(self, text: str, indent: int = 0, style: str = "") -> None:
        """A paragraph, wrapped."""
        from rich.padding import Padding
        from rich.text import Text

        self.console.print(Padding(Text(text, style=style), (0, 0, 0, indent), expand=False))

    def labelled(self, label: str, texts: Sequence[str], *, copied: bool = False) -> None:
        """Lines behind a label; those to be copied are never wrapped."""
        from rich.table import Table
        from rich.text import Text

        if copied:
            for text in texts:
                self.console.print(Text(f"   {label}  {text}"), soft_wrap=True)
            return
        table = Table(show_header=False, box=None, padding=(0, 2, 0, 0), pad_edge=False)
        table.add_column(min_width=12)
        table.add_column()
        for number, text in enumerate(texts):
            table.add_row(Text(f"   {label}" if number == 0 else "", style="dim"), Text(text))
        self.console.print(table)

    def today(self) -> None:
        """The task of the day, with what was found, what is left and what comes next."""
        self._heading()
        current = self.ledger.current
        if current is None:
            self.line(self.words["all_done"], style="bold green")
        else:
            self._task(current)
        self._weeks()
        week = current.week if current else len(weeks()) - 1
        done = [entry for entry in self.ledger.entries if entry.week == week and entry.is_done]
        if done:
            self.line(f"\n{self.words['found']}", style="bold")
            for entry in done:
                self._entry(entry)
        self._left()
        later = [entry for entry in self.ledger.open if entry is not current][:NEXT_TASKS]
        if later:
            self.line(f"\n{self.words['next']}", style="bold")
            for entry in later:
                self.line(f"· {entry.task.title.of(self.lang)}  [{entry.task.id}]", 3)
        self._problems()

    def all(self) -> None:
        """Every task with its evidence, then the figures of the runs."""
        self._heading()
        for number, week in enumerate(weeks()):
            self.line(f"\n{self.words['week'].format(week=number, title=week.title.of(self.lang))}", style="bold")
            for entry in (entry for entry in self.ledger.entries if entry.week == number):
                self._entry(entry)
        if self.ledger.figures:
            self.line(f"\n{self.words['figures']}", style="bold")
            for found in self.ledger.figures:
                self.line(f"✓ {found.file}: {evidence_text(found, self.lang)}", 3)
        self._left()
        self._problems()

    def quiz(self, questions: Sequence[Question], path: str) -> None:
        """The questions without their answers, which stand in the file."""
        if not questions:
            self.line(self.words["quiz.none"])
            return
        self.line(self.words["quiz.written"].format(path=path, count=len(questions)))
        for number, question in enumerate(questions, start=1):
            self.line(f"{number}. {question.question}", 3)

    def _heading(self) -> None:
        ledger, month = self.ledger, self.ledger.month
        day, words = month.day_of(ledger.today), self.words
        if day < 1:
            parts = [words["before"].format(days=1 - day)]
        elif day > month.days:
            parts = [words["over"].format(days=month.days)]
        else:
            parts = [
                words["day"].format(day=day, days=month.days),
                words["calendar"].format(week=ledger.week_by_calendar),
            ]
        parts.append(words["done"].format(done=len(ledger.entries) - len(ledger.open), all=len(ledger.entries)))
        if ledger.behind:
            parts.append(words["behind"].format(count=len(ledger.behind)))
        self.line(" · ".join(parts), style="bold")

    def _task(self, entry: Entry) -> None:
        task, month, words = entry.task, self.ledger.month, self.words
        week = words["week"].format(week=entry.week, title=weeks()[entry.week].title.of(self.lang))
        kind = f"{words['deliverable']} · " if task.kind == "deliverable" else ""
        self.line(
            f"\n{week}\n{kind}{words['today'].format(title=task.title.of(self.lang), id=task.id)}", style="bold cyan"
        )
        self.labelled(words["why"], [task.why.of(self.lang)])
        commands = commands_of(task, month, self.lang)
        self.labelled(words["type"], commands, copied=True)
        if month.platform in task.on_platform:
            there = filled(task.on_platform[month.platform].of(self.lang), month, self.lang)
            self.labelled(words["on"].format(platform=month.platform), [there])
        self.labelled(words["see"], [filled(task.see.of(self.lang), month, self.lang)])
        self.labelled(words["takes"], [self._takes(entry)])
        self.labelled(words["proof"], list(self._proof(entry)))

    def _takes(self, entry: Entry) -> str:
        task, month, words = entry.task, self.ledger.month, self.words
        hours = task.minutes / 60
        name = "minutes" if hours < 2 else "hours" if hours < 48 else "days_of"
        text = words[name].format(minutes=task.minutes, hours=hours, days=hours / 24)
        if task.gpu_hours:
            text += words["gpu"].format(hours=task.gpu_hours)
            price = month.price_per_hour
            money = {"currency": month.currency.upper(), "money": task.gpu_hours * price, "price": price}
            text += words["cost"].format(**money) if price else words["no_price"]
        return text

    def _proof(self, entry: Entry) -> Iterator[str]:
        """What was found, what is missing, and what only the user can say."""
        task, words = entry.task, self.words
        for found in entry.found.values():
            if found:
                yield f"✓ {found.file}: {evidence_text(found, self.lang)}"
        if entry.missing:
            wanted = [wanted_text(name, self.ledger.month, self.lang) for name in entry.missing]
            gpu = f" ({words['needs_gpu']})" if task.needs_gpu else ""
            yield words["missing"].format(evidence="; ".join(dict.fromkeys(wanted))) + gpu
        if entry.said and task.said:
            yield words["word"].format(day=entry.said, said=task.said.of(self.lang))
        elif task.said:
            yield words["also_said" if task.evidence else "only_said"].format(id=task.id)

    def _entry(self, entry: Entry) -> None:
        self.line(f"{MARKS[entry.is_done]} {entry.task.title.of(self.lang)}  [{entry.task.id}]", 3)
        for text in self._proof(entry):
            self.line(text, 7, style="" if entry.is_done else "dim")

    def _weeks(self) -> None:
        parts = []
        for number in range(len(weeks())):
            entries = [entry for entry in self.ledger.entries if entry.week == number]
            done = sum(entry.is_done for entry in entries)
            parts.append(f"{number} {'■' * done}{'□' * (len(entries) - done)} {done}/{len(entries)}")
        self.line(f"\n{self.words['weeks']}", style="bold")
        for part in parts:
            self.line(part, 3)

    def _left(self) -> None:
        ledger, month, words, spent = self.ledger, self.ledger.month, self.words, self.ledger.spent
        self.line(f"\n{words['left']}", style="bold")
        days = max(0, month.days - max(0, month.day_of(ledger.today) - 1))
        self.line(words["time_left"].format(days=days, ends=month.ends), 3)
        currency = month.currency.upper()
        left = {"left": month.budget - spent.money, "budget": month.budget, "currency": currency, "spent": spent.money}
        money = [words["money_left"].format(**left, runs=spent.runs, hours=spent.hours)]
        if spent.unpriced_hours:
            money.append(words["not_priced"].format(hours=spent.unpriced_hours))
        if spent.other:
            other = "USD" if month.currency == "cny" else "CNY"
            money.append(words["other_currency"].format(money=spent.other, currency=other))
        self.line("; ".join(money), 3)
        if ledger.gpu_hours_open:
            self.line(f"{words['plan_needs'].format(hours=ledger.gpu_hours_open)}; {words['rented']}", 3)

    def _problems(self) -> None:
        if self.ledger.folder.problems:
            self.line(f"\n{self.words['problems']}", style="yellow")
            for path, why in self.ledger.folder.problems.items():
                self.line(f"{path}: {why}", 3)


def as_values(ledger: Ledger, lang: str) -> dict[str, Any]:
    """The whole ledger as plain values, for JSON."""
    current, spent = ledger.current, ledger.spent
    return {
        "day": ledger.month.day_of(ledger.today),
        "days": ledger.month.days,
        "today": current.task.id if current else None,
        "done": len(ledger.entries) - len(ledger.open),
        "tasks": [
            {
                "id": entry.task.id,
                "week": entry.week,
                "kind": entry.task.kind,
                "title": entry.task.title.of(lang),
                "commands": commands_of(entry.task, ledger.month, lang),
                "done": entry.is_done,
                "due_day": ledger.due_day(entry.task),
                "missing": entry.missing,
                "said": str(entry.said) if entry.said else None,
                "evidence": [_found_values(found, lang) for found in entry.found.values() if found],
            }
            for entry in ledger.entries
        ],
        "figures": [_found_values(found, lang) for found in ledger.figures],
        "spent": {"runs": spent.runs, "hours": spent.hours, "money": spent.money, "currency": ledger.month.currency},
        "problems": ledger.folder.problems,
    }


def _found_values(found: Any, lang: str) -> dict[str, Any]:
    return {"kind": found.kind, "file": found.file, "text": evidence_text(found, lang), "values": dict(found.values)}
