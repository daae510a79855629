"""Evidence of the model: the proven export, evaluations, the report, the retrospective and the words in it."""

from eval.score_table import verdict
from megatron_recipe.errors import ConfigError
from megatron_recipe.month.evidence import Found, Recogniser
from megatron_recipe.month.folder import Folder, Record
from megatron_recipe.month.of_training import run_of
from megatron_recipe.report.markdown import words_between_marks

STORIES = ("hardest", "decision", "surprise")
LEAST_CHARACTERS = 40
"""Of a story: less is a note to oneself."""
QUIZ = "quiz.md"


def export_of(folder: Folder, which: str) -> str:
    """The export of a run: of the same name."""
    return f"exports/{run_of(folder, which).rpartition('/')[2]}"


def exported(folder: Folder, which: str) -> Found | None:
    """The Hugging Face model, with the proof that it is the same."""
    file = f"{export_of(folder, which)}/export.json"
    export = folder.record(file)
    proof = export.get("comparison") or {}
    if not proof.get("passed"):
        return None
    values = {
        "step": export["step"],
        "difference": proof["max_abs_difference"],
        "tokens": proof["tokens"],
        "agreement": proof["top1_agreement"],
        "mb": sum(folder.size(one) for one in folder.found(f"{export_of(folder, which)}/*.safetensors")) / 1e6,
    }
    return Found("exported", file, values)


def perplexity(folder: Folder, which: str) -> Found | None:
    """Held-out loss of the model, `eval perplexity --out RUN/eval/perplexity.json`."""
    file = f"{run_of(folder, which)}/eval/perplexity.json"
    splits = folder.record(file).get("splits")
    if not splits:
        return None
    name, split = next(iter(splits.items()))
    interval = split.get("loss_interval") or [split["loss"], split["loss"]]
    values = {
        "name": name,
        "loss": split["loss"],
        "low": interval[0],
        "high": interval[1],
        "perplexity": split["perplexity"],
        "bits_per_byte": split["bits_per_byte"],
        "unigram": split["unigram_loss"],
        "tokens": split["tokens"] / 1e6,
    }
    return Found("perplexity", file, values)


def samples(folder: Folder, which: str) -> Found | None:
    """What the model writes, `eval generate --out RUN/eval/samples.json`."""
    file = f"{run_of(folder, which)}/eval/samples.json"
    written = folder.record(file).get("samples") or []
    if not written:
        return None
    longest = max(len(str(one["text"])) for one in written)
    values = {"samples": len(written), "prompts": len({one["prompt"] for one in written}), "longest": longest}
    return Found("samples", file, values)


def benchmark(folder: Folder, name: str) -> Found | None:
    """A score of `eval run`, of the big run or its export."""
    run = run_of(folder, "big")
    for file in (f"{export_of(folder, 'big')}/eval/harness.json", f"{run}/eval/harness.json"):
        entry: Record | None = (folder.record(file).get("tasks") or {}).get(name)
        if entry:
            values = {
                "name": name,
                "score": entry["score"],
                "error": entry["stderr"],
                "chance": entry["chance"],
                "questions": entry["questions"],
                "of": entry["of"],
                "verdict": verdict(entry),
            }
            return Found("benchmark", file, values)
    return None


def evaluation_report(folder: Folder, which: str) -> Found | None:
    """The run's page, written after its last evaluation."""
    run = run_of(folder, which)
    page, measured = f"{run}/report.html", perplexity(folder, which)
    if measured is None or not folder.has(page):
        return None
    if (folder.root / page).stat().st_mtime < (folder.root / measured.file).stat().st_mtime:
        return None
    return Found("page", page, {"kb": folder.size(page) / 1e3})


def retrospective(folder: Folder, which: str) -> Found | None:
    """The retrospective of a run."""
    file = f"{run_of(folder, which)}/retrospective.md"
    places = _places(folder, file)
    if not places:
        return None
    written = [words for words in places.values() if words]
    values = {"places": len(places), "written": len(written), "characters": sum(map(len, written))}
    return Found("retrospective", file, values)


def story(folder: Folder, which: str) -> Found | None:
    """A story in the user's own words, in the places of the retrospective that an interview asks for."""
    file = f"{run_of(folder, which)}/retrospective.md"
    told = {name: words for name, words in _places(folder, file).items() if name in STORIES}
    long = {name: len(words) for name, words in told.items() if len(words) >= LEAST_CHARACTERS}
    if not long:
        return None
    return Found("story", file, {"stories": len(long), "characters": sum(long.values())})


def quiz(folder: Folder, _: str) -> Found | None:
    """The quiz that `megatron-recipe today --quiz` wrote."""
    places = _places(folder, QUIZ)
    if not places:
        return None
    return Found("quiz", QUIZ, {"questions": len(places), "answered": sum(map(bool, places.values()))})


def _places(folder: Folder, file: str) -> dict[str, str]:
    """The author's words in a document of `megatron-recipe report`; none where a mark is damaged, which it says."""
    try:
        return words_between_marks(folder.text(file), file)
    except ConfigError:
        return {}


TABLE: dict[str, Recogniser] = {
    "exported": exported,
    "perplexity": perplexity,
    "samples": samples,
    "benchmark": benchmark,
    "evaluation_report": evaluation_report,
    "retrospective": retrospective,
    "story": story,
    "quiz": quiz,
}
