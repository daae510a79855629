"""Questions of a benchmark from local files: parquet, arrow, JSON lines or CSV, wherever a collection keeps them.

A split is found by its name among the words of a file's path: DIR/hellaswag/data/validation-00000-of-00001.parquet,
DIR/arc_easy/ARC-Easy/test/0000.parquet, DIR/hellaswag/none/validation/data-00000-of-00001.arrow. Subjects are folders
or files of their names, or the values of a column.
"""

import csv
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from eval.suites import Benchmark
from megatron_recipe.errors import DataError, in_short

Row = dict[str, Any]
SUFFIXES = (".parquet", ".arrow", ".jsonl", ".json", ".csv")


class LocalData:
    """The files of one benchmark below a data folder."""

    def __init__(self, benchmark: Benchmark, data_dir: Path) -> None:
        """Find its folder and the split to evaluate on. Raises DataError where one is missing."""
        self.benchmark = benchmark
        self.data_dir = data_dir
        self.folder = next((data_dir / name for name in benchmark.data if (data_dir / name).is_dir()), None)
        found = sorted(self.folder.rglob("*")) if self.folder else []
        self._listing = [path for path in found if path.suffix in SUFFIXES and path.is_file()]
        self.split = next((split for split in benchmark.splits if self.files(split)), benchmark.splits[0])
        for split in self.splits:
            if not self.files(split):
                raise self.missing(f"no {' or '.join(SUFFIXES)} file of its split {split}")
        self._columns: dict[str, dict[str, list[Row]]] = {}

    @property
    def splits(self) -> list[str]:
        """The split to evaluate on, and that of the worked examples where there are any."""
        return [self.split, *([self.benchmark.examples] if self.benchmark.examples else [])]

    def files(self, split: str, subject: str | None = None) -> list[Path]:
        """Files of a split, of one subject or of all."""
        if self.folder is None:
            return []
        wanted = {split, "validation" if split == "val" else split}
        found = []
        for path in self._listing:
            relative = path.relative_to(self.folder)
            if not wanted & _words(relative.parts):
                continue
            if subject is None or subject in (*relative.parts, _without(path.stem, wanted)):
                found.append(path)
        return found

    def rows(self, split: str, subject: str | None = None) -> list[Row]:
        """Questions of a split. Raises DataError where a subject has none."""
        if subject is None:
            return read_rows(self.files(split))
        files = self.files(split, subject)
        rows = read_rows(files) if files else self._by_subject(split).get(subject, [])
        if not rows:
            raise self.missing(f"no question of {subject} in split {split}")
        return rows

    def missing(self, what: str) -> DataError:
        """The error that says what is missing, where it was looked for and where it comes from."""
        from eval.download import SETS

        name = self.benchmark.download or self.benchmark.name
        places = " or ".join(str(self.data_dir / folder) for folder in self.benchmark.data)
        return DataError(
            f"{self.benchmark.name}: {what} in {places}; `megatron-recipe eval download {name} --out {self.data_dir}` "
            f"fetches it from the data set {SETS[name].repo}"
        )

    def _by_subject(self, split: str) -> dict[str, list[Row]]:
        if split not in self._columns:
            groups: dict[str, list[Row]] = defaultdict(list)
            for row in read_rows(self.files(split)):
                groups[str(row.get(self.benchmark.column or "", ""))].append(row)
            self._columns[split] = groups
        return self._columns[split]


def read_rows(files: Iterable[Path]) -> list[Row]:
    """All rows of some files, in the order of the names. Raises DataError for a file that cannot be read."""
    rows: list[Row] = []
    for file in files:
        try:
            rows += _read(file)
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{file}: cannot be read ({in_short(error)}); download it again") from error
    return rows


def balanced(answers: Sequence[Any], per_answer: int) -> list[int]:
    """Indices of `per_answer` questions of each right answer, spread evenly over them, in ascending order.

    Always the same ones; who always says the same letter scores exactly chance. Fewer where there are fewer.
    """
    places: dict[str, list[int]] = defaultdict(list)
    for index, answer in enumerate(answers):
        places[str(answer)].append(index)
    chosen: list[int] = []
    for indices in places.values():
        count = min(per_answer, len(indices))
        chosen += [indices[len(indices) * number // count] for number in range(count)]
    return sorted(chosen)


def _words(parts: Iterable[str]) -> set[str]:
    return {word for part in parts for word in re.split(r"[-_.]", part)}


def _without(stem: str, splits: set[str]) -> str:
    """anatomy_test and test-anatomy → anatomy; a subject's own name may hold underscores."""
    pattern = "|".join(map(re.escape, splits))
    return re.sub(rf"^(?:{pattern})[-_.]|[-_.](?:{pattern})$", "", stem)


def _read(file: Path) -> list[Row]:
    if file.suffix == ".csv":
        with file.open(encoding="utf-8-sig", newline="") as lines:
            return list(csv.DictReader(lines))
    if file.suffix == ".jsonl":
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if file.suffix == ".json":
        content = json.loads(file.read_text(encoding="utf-8"))
        if not (isinstance(content, list) and content and isinstance(content[0], dict)):
            return []  # what a collection notes about its files, not questions
        return content
    import pyarrow as pa
    import pyarrow.parquet as pq

    if file.suffix == ".parquet":
        rows: list[Row] = pq.read_table(file).to_pylist()
        return rows
    with pa.memory_map(str(file)) as source:
        try:
            table = pa.ipc.open_stream(source).read_all()
        except pa.ArrowInvalid:
            table = pa.ipc.open_file(source).read_all()
        arrow_rows: list[Row] = table.to_pylist()
        return arrow_rows
