"""The tables of `benchmarks.incidents`: on the console, and as a section of docs/diagnose.md and its Chinese twin."""

import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PAGES = {"en": "diagnose.md", "zh": "diagnose.zh-CN.md"}
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
LOOKED_AT = "1, 2, 3"
"""Seeds whose runs were looked at while limits and incidents were being set; none of them is reported."""
Controls = Mapping[str, tuple[list[str], list[str]]]
"""By name and seed: checks that say wrong, and checks that ask for attention."""


@dataclass(frozen=True)
class Row:
    """What was measured of one incident."""

    name: str
    planted: list[str]
    """Checks of `diagnose` that stand for the cause: one of them has to be named first."""
    first: dict[int, str]
    """What `diagnose` names first, by seed; empty where it names nothing."""
    seen: dict[int, bool]
    """Whether the incident's criterion holds, by seed."""
    controls: int
    """Controls that the criterion was tried on."""
    seen_in_controls: list[int]
    """Seeds of those in which it holds, which it should not."""
    recovered: float | None
    """The remedy's held-out loss over its control's, the largest of the seeds; None: not run."""
    should_recover: bool
    title: tuple[str, str]
    """In English and Chinese."""

    @property
    def runs(self) -> int:
        """Runs of the incident."""
        return len(self.first)

    @property
    def hits(self) -> int:
        """Runs of which the planted cause is named first."""
        return sum(name in self.planted for name in self.first.values())

    @property
    def others(self) -> str:
        """What was named first instead."""
        wrong = sorted({name or "-" for name in self.first.values() if name not in self.planted})
        return ", ".join(wrong)


def last_line(rows: Sequence[Row], controls: Controls) -> str:
    """For whoever reads the benchmark by machine."""
    runs, hits = sum(row.runs for row in rows), sum(row.hits for row in rows)
    alarms = sum(bool(wrong) for wrong, _ in controls.values())
    return f"incidents={len(rows)} runs={runs} hits={hits} false_alarms={alarms} controls={len(controls)}"


def text_table(rows: Sequence[Row], controls: Controls) -> str:
    """For the console."""
    head = f"{'incident':<27}{'planted':<52}{'hits':>6}{'seen':>6}{'in controls':>13}{'remedy':>9}  named first instead"
    lines = [head]
    for row in rows:
        lines.append(
            f"{row.name:<27}{', '.join(row.planted):<52}{row.hits:>4}/{row.runs}{sum(row.seen.values()):>4}/{row.runs}"
            f"{len(row.seen_in_controls):>10}/{row.controls}{_ratio(row):>9}  {row.others}"
        )
    lines += [f"{name}: wrong: {', '.join(wrong)}" for name, (wrong, _) in controls.items() if wrong]
    lines += [f"{name}: attention: {', '.join(odd)}" for name, (_, odd) in controls.items() if odd]
    return "\n".join(lines)


def _ratio(row: Row) -> str:
    return "-" if row.recovered is None else f"{row.recovered:.3f}"


WORDS = {
    "en": {
        "where": "{command}, {date}, {hardware}. Seeds {seeds} for the incidents, {controls} for the controls. Seeds "
        "{looked} were looked at while the limits were set, and are not in these figures.",
        "model": "The model has two layers of width 64 and reads 204,800 tokens. It is smaller than the lab's own, so "
        "that all seeds fit into an hour of two cores, shared with other work.",
        "head": "| incident | planted cause | named first | criterion seen | in controls | remedy's loss / control's |",
        "hits": "**{hits} of {runs}** runs of {incidents} incidents: planted cause first. **{alarms}** of {count} "
        "controls: something wrong.",
        "effects": "Where several checks stand in the second column they are effects, since no check knows that cause "
        "itself. Without these incidents: {hits} of {runs}.",
        "instead": "instead",
        "attention": "Controls that ask for a look without an alarm: {text}.",
        "none": "none",
        "remedies": "A remedy recovers where that ratio is 1.03 or less. It is the largest of the seeds that it "
        "was tried on. Below 1 is better than the control, as with weights that were trained before.",
    },
    "zh": {
        "where": "{command}，{date}，{hardware}。事故用种子 {seeds}，对照用种子 {controls}。"
        "设定界限时看过种子 {looked}，它们不在这些数字里。",
        "model": "模型为两层、宽 64，读 204,800 个 token，比实验室自己的更小，"
        "好让所有种子在两个核上一小时内跑完（同时还有别的工作）。",
        "head": "| 事故 | 埋下的原因 | 排在最前 | 判据成立 | 在对照中成立 | 补救的损失 / 对照的损失 |",
        "hits": "{incidents} 种事故的 {runs} 次运行中，**{hits}** 次把埋下的原因排在最前。"
        "{count} 次对照中，**{alarms}** 次报错。",
        "effects": "第二列有多个检查时，它们是后果，因为没有检查认得原因本身。不算这些事故：{runs} 次中 {hits} 次。",
        "instead": "而是",
        "attention": "没有报错、只提示看一眼的对照：{text}。",
        "none": "无",
        "remedies": "该比值不超过 1.03 即为恢复，取试过的种子中最大的一个。"
        "小于 1 表示比对照更好，例如从训练过的权重开始。",
    },
}


def section(
    rows: Sequence[Row], controls: Controls, lang: str, command: str, seeds: Sequence[int], healthy: Sequence[int]
) -> str:
    """Markdown in one language."""
    words, place = WORDS[lang], ("en", "zh").index(lang)
    runs, hits = sum(row.runs for row in rows), sum(row.hits for row in rows)
    alarms = sum(bool(wrong) for wrong, _ in controls.values())
    odd = [f"{name} ({', '.join(checks)})" for name, (_, checks) in controls.items() if checks]
    facts = {
        "command": f"`{command}`",
        "date": time.strftime("%Y-%m-%d"),
        "hardware": hardware(),
        "seeds": ", ".join(map(str, seeds)),
        "controls": ", ".join(map(str, healthy)),
        "looked": LOOKED_AT,
    }
    lines = [words["where"].format(**facts), "", words["model"], ""]
    counts = {"hits": hits, "runs": runs, "incidents": len(rows), "alarms": alarms, "count": len(controls)}
    lines += [words["hits"].format(**counts), "", words["head"], "|---|---|---|---|---|---|"]
    for row in rows:
        instead = f" ({words['instead']} {row.others})" if row.others else ""
        checks = ", ".join(f"`{check}`" for check in row.planted)
        lines.append(
            f"| {row.title[place]} | {checks} | {row.hits} / {row.runs}{instead} | "
            f"{sum(row.seen.values())} / {row.runs} | {len(row.seen_in_controls)} / {row.controls} | {_ratio(row)} |"
        )
    known = [row for row in rows if len(row.planted) == 1]
    effects = words["effects"].format(hits=sum(row.hits for row in known), runs=sum(row.runs for row in known))
    attention = words["attention"].format(text="; ".join(odd) or words["none"])
    return "\n".join([*lines, "", effects, "", attention, "", words["remedies"]])


def with_section(text: str, body: str) -> str:
    """A page with `body` between its marks, which have to be there."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    assert after, f"the page lacks the marks {BEGIN} and {END}"
    return f"{before}{BEGIN}\n\n{body}\n\n{END}{after}"


def hardware() -> str:
    """Processor and cores."""
    cores = len(os.sched_getaffinity(0))
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)
    return f"{cores} x {model or platform.machine()}"
