"""Jobs over cards: what shares one, what has it alone, what waits for another, and what is done is not done again."""

import json
import sys
import time
from pathlib import Path

import pytest

from benchmarks.job_queue import Job, JobQueue

# writes when it began, what it may see, and when it ended
CODE = (
    "import json, os, sys, time; began = time.time(); time.sleep(float(sys.argv[2])); "
    "open(sys.argv[1], 'a').write(json.dumps([began, time.time(), os.environ['CUDA_VISIBLE_DEVICES']]) + '\\n')"
)


class Bench:
    """A queue over made-up cards, and what its jobs wrote."""

    def __init__(self, folder: Path, cards: tuple[str, ...]) -> None:
        self.folder, self.cards = folder, cards

    def job(self, name: str, takes: str, seconds: float = 0.6, limit: float = 30.0, after: tuple[str, ...] = ()) -> Job:
        return Job(
            name, (sys.executable, "-c", CODE, str(self.folder / f"{name}.times"), str(seconds)), takes, limit, after
        )

    def run(self, jobs: list[Job], seconds: float = 60.0) -> dict[str, int]:
        """Exit codes."""
        ended = JobQueue(self.folder / "out", self.cards, time.monotonic() + seconds, parts=2).run(jobs)
        return {name: one["code"] for name, one in ended.items()}

    def times(self, name: str) -> tuple[float, float, str]:
        """Begin, end and cards of a job that was done once."""
        (line,) = (self.folder / f"{name}.times").read_text().splitlines()
        began, ended, cards = json.loads(line)
        return began, ended, cards

    def overlap(self, one: str, other: str) -> bool:
        (begin, end, _), (other_begin, other_end, _) = self.times(one), self.times(other)
        return begin < other_end and other_begin < end


@pytest.fixture
def bench(tmp_path):
    return lambda *cards: Bench(tmp_path, cards)


def test_two_parts_share_a_card_and_a_third_waits(bench):
    one = bench("0")
    assert one.run([one.job(name, "part") for name in "abc"]) == {"a": 0, "b": 0, "c": 0}
    assert one.overlap("a", "b") and not (one.overlap("a", "c") and one.overlap("b", "c"))


def test_a_whole_card_is_shared_with_nothing_but_other_cards_are_used(bench):
    two = bench("3", "5")
    two.run([two.job("card", "card", 1.2), two.job("part", "part"), two.job("more", "part")])
    assert two.times("card")[2] == "3" and two.times("part")[2] == two.times("more")[2] == "5"
    assert two.overlap("card", "part")


def test_all_cards_are_waited_for_and_not_taken_away_meanwhile(bench):
    two = bench("0", "1")
    two.run([two.job("first", "part", 0.8), two.job("all", "all"), two.job("last", "part")])
    assert two.times("all")[2] == "0,1"
    assert not two.overlap("all", "first") and not two.overlap("all", "last")
    assert two.times("last")[0] > two.times("all")[1]


def test_a_job_waits_for_another_and_is_left_where_that_failed(bench):
    one = bench("0")
    fails = Job("fails", (sys.executable, "-c", "raise SystemExit(3)"), "part", 30.0)
    codes = one.run(
        [
            one.job("second", "part", after=("first",)),
            one.job("first", "part"),
            fails,
            one.job("never", "part", after=("fails",)),
        ]
    )
    assert codes == {"second": 0, "first": 0, "fails": 3}
    assert one.times("second")[0] > one.times("first")[1]


def test_what_is_done_is_not_done_again(bench):
    one = bench("0")
    for _ in range(2):
        assert one.run([one.job("a", "part")]) == {"a": 0}
    one.times("a")


def test_a_job_over_its_time_is_ended_and_tried_again(bench):
    one = bench("0")
    assert one.run([one.job("slow", "part", seconds=60.0, limit=0.5)]) == {"slow": -15}
    assert one.run([one.job("slow", "part", seconds=0.1)]) == {"slow": 0}


def test_after_the_time_for_all_none_is_begun(bench):
    one = bench("0")
    assert one.run([one.job("a", "card", 60.0), one.job("b", "card")], seconds=1.0) == {"a": -15}
