"""Which models four ranks load in which layouts: each layout, and each family, at the cost of eight starts."""

from hf_models import Case

LAYOUTS = {
    "tensor": ("parallel.tensor=2",),
    "tensor_and_sequence": ("parallel.tensor=2", "parallel.sequence_parallel=true"),
    "pipeline": ("parallel.pipeline=2",),
    "tensor_and_pipeline": ("parallel.tensor=2", "parallel.pipeline=2"),
    "virtual": ("parallel.pipeline=2", "parallel.virtual_stages=2"),
    "bf16": ("parallel.tensor=2", "precision.dtype=bf16"),
}
LEARNING_RATE = 1e-5
MODELS = {
    str(case): (case, layouts)
    for case, layouts in (
        (Case("llama3", False, 2, 101), ("tensor_and_pipeline", "virtual")),
        (Case("qwen2", True, 2, 101), ("tensor_and_sequence", "tensor_and_pipeline")),
        (Case("qwen3", False, 2, 101), ("pipeline", "bf16")),
        (Case("mistral", True, 6, 128), ("tensor", "pipeline")),
    )
}
PAIRS = [(name, layout) for name, (_, layouts) in MODELS.items() for layout in layouts]
