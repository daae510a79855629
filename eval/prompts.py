"""The prompts that samples are generated from: eval/prompts.jsonl, or a file of the user's like it."""

import json
from pathlib import Path

from megatron_recipe.errors import DataError, in_short

PROMPTS_FILE = Path(__file__).with_name("prompts.jsonl")


def read_prompts(file: Path = PROMPTS_FILE) -> list[str]:
    """The prompts of a JSON-lines file: `{"prompt": "…"}` in each line. Raises DataError for anything else."""
    try:
        lines = [line for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]
        prompts = [str(json.loads(line)["prompt"]) for line in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f'{file}: not a prompt file ({in_short(error)}); write {{"prompt": "…"}} in each line'
        ) from error
    if not prompts:
        raise DataError(f'{file}: holds no prompt; write {{"prompt": "…"}} in each line')
    return prompts
