"""Made-up questions in the forms of four benchmarks, for tests that score models without a network."""

import json
from pathlib import Path
from typing import Any

NAMES = ("def", "self", "return", "参数", "训练", "class", "width", "模型")
SUBJECTS = ("anatomy", "astronomy", "virology")


def write_questions(folder: Path) -> Path:
    """Files of arc_easy, hellaswag, lambada and mmlu (three subjects) below a new `folder`, 24 questions each or so."""
    asked = [(index, name, times) for index, name in enumerate(NAMES) for times in range(1, 4)]
    arc = [
        {
            "question": f"what does {name} do {times} times?",
            "choices": {"label": list("1234"), "text": [f"{name} {end}" for end in ("x", "yy", "returns", "if not")]},
            "answerKey": str(1 + (index + times) % 4),
        }
        for index, name, times in asked
    ]
    hellaswag = [
        {
            "ind": index,
            "activity_label": "Programming",
            "ctx_a": f"the function {name} is called. " * times,  # the longest are cut at their beginning
            "ctx_b": "then it",
            "endings": [f"returns {name}", f"fails {times} times", "训练一个模型", "wraps the text"],
            "label": str((index * times) % 4),
            "split": "val",
        }
        for index, name, times in asked
    ]
    lambada = [{"text": f"def {name}(self): return {'self ' * times}{name}"} for _, name, times in asked]
    mmlu = [
        {"question": f"{subject} {index}", "subject": subject, "choices": ["a", "b", "c", "d"], "answer": index % 4}
        for subject in SUBJECTS
        for index in range(8)
    ]
    files: dict[str, list[dict[str, Any]]] = {
        "arc_easy/test": arc,
        "hellaswag/validation": hellaswag,
        "lambada/test": lambada,
        "mmlu/test": mmlu,
        "mmlu/dev": mmlu,
    }
    for name, rows in files.items():
        file = folder / f"{name}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return folder
