"""Evidence of experiments: incidents of the lab, its summary, comparisons of settings."""

from typing import Any

from megatron_recipe.lab.wording import conclusion_text
from megatron_recipe.month.evidence import Found, Recogniser
from megatron_recipe.month.folder import Folder

JUDGED = ("seen", "not seen")
LEAST_RECORDS = 6


def comparison(folder: Folder, name: str) -> Found | None:
    """A comparison all of whose runs are finished, with its first conclusion."""
    for file in folder.found("comparisons/*/comparison.json"):
        facts = folder.record(file)
        if facts.get("name") != name:
            continue
        states = [run["state"] for setting in facts["settings"] for run in setting["runs"]]
        if not states or set(states) != {"finished"}:
            continue
        said = facts["conclusions"]
        values = {
            "name": name,
            "settings": len(facts["settings"]),
            "runs": len(states),
            "seeds": len(facts["seeds"]),
            "tokens": facts["tokens_per_run"] / 1e6,
            "conclusion": {lang: conclusion_text(said[0], facts, lang) if said else "–" for lang in ("en", "zh")},
            "proven": sum(one["kind"] == "better" for one in said),
        }
        return Found("comparison", file, values)
    return None


def _judged(folder: Folder) -> list[tuple[str, dict[str, Any]]]:
    """The incidents whose runs were made, and whose criterion said something."""
    found = [(file, folder.record(file)) for file in folder.found("incidents/*/incident.json")]
    return [(file, one) for file, one in found if one.get("verdict") in JUDGED]


def incident(folder: Folder, name: str) -> Found | None:
    """An incident of the lab: its verdict, and the losses of incident, control and remedy."""
    for file, facts in _judged(folder):
        if facts["name"] != name:
            continue
        runs, about = facts["runs"], facts["incident"]
        losses = {role: _loss(runs[role]) for role in ("incident", "control", "remedy")}
        values = {
            "name": name,
            "title": about["title"],
            "verdict": facts["verdict"],
            **losses,
            "check": ", ".join(runs["incident"]["diagnosis"][:2]) or None,
            "recovered": {True: "recovered", False: "not_recovered", None: None}[facts["remedy"]["recovered"]],
            "cause": about["cause"],
            "remedy_text": about["remedy"]["text"],
            "evidence": _first_evidence(runs["incident"]),
        }
        return Found("incident", file, values)
    return None


def _loss(run: dict[str, Any]) -> float | None:
    value = run["numbers"].get("held_out_loss")
    return None if value is None else float(value)  # infinity is text in JSON


def _first_evidence(run: dict[str, Any]) -> dict[str, str] | None:
    seen = [one for condition in run["criterion"] for one in condition["evidence"]]
    if not seen:
        return None
    value = seen[0]["value"]
    figure = f"{value:.4g}" if isinstance(value, float) else str(value)
    said, limit = f"{seen[0]['metric']} = {figure}", seen[0]["limit"]
    return {"en": f"{said} (healthy: {limit})", "zh": f"{said}（健康：{limit}）"} if limit else {"en": said, "zh": said}


def incident_records(folder: Folder, _: str) -> Found | None:
    """The records of six incidents or more."""
    records = [file for file in folder.found("incidents/*/record.md") if folder.has(file)]
    if len(records) < LEAST_RECORDS:
        return None
    names = ", ".join(file.split("/")[-2] for file in records)
    return Found("incident_records", records[0], {"records": len(records), "names": names})


def incident_summary(folder: Folder, _: str) -> Found | None:
    """The summary of all incidents, newer than the last of them."""
    page = next((file for file in folder.found("incidents/*.md") if folder.has(file)), None)
    judged = _judged(folder)
    if page is None or not judged:
        return None
    seen = sum(one["verdict"] == "seen" for _, one in judged)
    return Found("incident_summary", page, {"incidents": len(judged), "seen": seen})


def incident_names(folder: Folder) -> list[str]:
    """Names of the incidents that were judged, those that were seen first."""
    judged = [one for _, one in _judged(folder)]
    return [one["name"] for one in sorted(judged, key=lambda one: (one["verdict"] != "seen", one["name"]))]


TABLE: dict[str, Recogniser] = {
    "comparison": comparison,
    "incident": incident,
    "incident_records": incident_records,
    "incident_summary": incident_summary,
}
