"""The recipe that comes with a model from Hugging Face: its exact architecture, and settings to train it further."""

import json
import textwrap
from pathlib import Path

import yaml

from megatron_recipe.config import ModelConfig

LONGEST_SAMPLE_TOKENS = 4096
TOKENS_IN_A_STEP = 2**20
RECIPE = """\
# {name}, to be trained further: megatron-recipe train {out}/recipe.yaml --run-dir runs/NAME
#
# The model section is what the weights are; changing it is refused. The rest is a beginning: see docs/config.md.
# The dataset has to be made with the model's tokenizer:
#   megatron-recipe data prepare TEXTS --out datasets/main --tokenizer {tokenizer}
extends: base
model:
{model}
data:
  datasets:
    - path: datasets/main
batch:
  global_batch_size_samples: {batch}   # about a million tokens
schedule:
  # A third to a tenth of the rate that the model was trained with is usual: more forgets, less learns little.
  peak_learning_rate: 5.0e-5
  min_learning_rate: 5.0e-6
  warmup_fraction: 0.02
  decay: cosine
train:
  init_from: {init_from}
  steps: 1000
"""


def recipe_text(model: ModelConfig, name: str, out: Path, tokenizer: Path | None) -> str:
    """YAML that `megatron-recipe train` reads.

    name: of the model. out: the folder of the weights, as `train.init_from` has it. tokenizer: None is not there.
    """
    length = min(model.sequence_length_tokens, LONGEST_SAMPLE_TOKENS)
    values = {**model.model_dump(mode="json"), "sequence_length_tokens": length}
    return RECIPE.format(
        name=name,
        out=out,
        tokenizer=out / "tokenizer" / tokenizer.name if tokenizer else "FILE (it was not with the weights)",
        model=textwrap.indent(yaml.safe_dump(values, sort_keys=False), "  ").rstrip(),
        batch=max(1, TOKENS_IN_A_STEP // length),
        init_from=json.dumps(str(out), ensure_ascii=False),
    )
