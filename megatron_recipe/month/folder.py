"""The user's folder, read once: a file that is damaged is told of and is no evidence, and stops nothing."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from megatron_recipe.errors import RecipeError
from megatron_recipe.files import read_jsonl
from megatron_recipe.month.month_file import Month
from megatron_recipe.report.run_files import latest_pass

Record = dict[str, Any]
NOTES = "notes"
"""Folder for what commands print as JSON: `megatron-recipe doctor --json > notes/doctor.json`."""


class Folder:
    """Everything below one folder that recognisers look at. Paths are relative to it."""

    def __init__(self, root: Path, month: Month) -> None:
        self.root, self.month = root, month
        self.problems: dict[str, str] = {}
        """Files that could not be read, and why."""
        self._json: dict[str, Any] = {}
        self._lines: dict[str, list[Record]] = {}

    @property
    def small(self) -> str:
        """The 100M-300M run."""
        return f"runs/{self.month.small}"

    @property
    def big(self) -> str:
        """The 1B run."""
        return f"runs/{self.month.big}"

    def found(self, pattern: str) -> list[str]:
        """Files that match, sorted by name."""
        return sorted(path.relative_to(self.root).as_posix() for path in self.root.glob(pattern) if path.is_file())

    def has(self, path: str) -> bool:
        """Whether there is such a file with something in it."""
        file = self.root / path
        return file.is_file() and file.stat().st_size > 0

    def size(self, path: str) -> int:
        """Bytes of a file."""
        return (self.root / path).stat().st_size

    def text(self, path: str) -> str:
        """A text file; empty where it is not there or no text."""
        try:
            return (self.root / path).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            self.problems[path] = " ".join(str(error).split())
            return ""

    def json(self, path: str) -> Any:
        """Content of a JSON file; None where it is not there or damaged."""
        if path not in self._json:
            text = self.text(path)
            try:
                self._json[path] = json.loads(text) if text.strip() else None
            except ValueError as error:
                self.problems[path] = " ".join(str(error).split())
                self._json[path] = None
        return self._json[path]

    def record(self, path: str) -> Record:
        """Content of a JSON file that holds a mapping; empty where it does not."""
        content = self.json(path)
        return content if isinstance(content, dict) else {}

    def lines(self, path: str) -> list[Record]:
        """Records of a JSON-lines file; none where it is not there or damaged."""
        if path not in self._lines:
            try:
                records = read_jsonl(self.root / path) if self.has(path) else []
            except (RecipeError, OSError) as error:
                self.problems[path] = " ".join(str(error).split())
                records = []
            self._lines[path] = [record for record in records if isinstance(record, dict)]
        return self._lines[path]

    def metrics(self, run: str, kind: str = "train") -> list[Record]:
        """The records of a run that still count after resumes and rollbacks, of one kind, that have a loss."""
        key = f"{run} latest"
        if key not in self._lines:
            lines = self.lines(f"{run}/metrics.jsonl")
            self._lines[key] = latest_pass([one for one in lines if "kind" in one and "step" in one])
        return [one for one in self._lines[key] if one["kind"] == kind and isinstance(one.get("loss"), int | float)]

    def events(self, run: str, *kinds: str) -> list[Record]:
        """What happened in a run, in its order; all kinds where none is named."""
        return [one for one in self.lines(f"{run}/events.jsonl") if not kinds or one.get("event") in kinds]

    def config(self, run: str) -> Record:
        """The configuration of a run; empty where there is none."""
        key = f"{run}/config.yaml"
        if key not in self._json:
            text = self.text(key)
            try:
                values = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) if text else {}
            except yaml.YAMLError as error:
                self.problems[key] = " ".join(str(error).split())
                values = {}
            self._json[key] = values if isinstance(values, dict) else {}
        content: Record = self._json[key]
        return content

    @cached_property
    def runs(self) -> list[str]:
        """Run folders of the project, without those of comparisons and incidents."""
        return [path.rpartition("/")[0] for path in self.found("runs/*/config.yaml")]

    @cached_property
    def reports(self) -> list[str]:
        """JSON files that commands printed or wrote for the ledger."""
        return self.found(f"{NOTES}/*.json")
