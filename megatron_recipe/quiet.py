"""Silence what the libraries print on every start, so that the user sees what the run says.

Only messages that say nothing about this run are hidden: missing optional packages (`megatron-recipe doctor` reports
those), deprecations inside Megatron-Core, and torch's note that a CUDA toolkit is there without a GPU.
"""

import logging
import os
import warnings

HIDDEN_WARNINGS = (
    r".*Transformer Engine and Apex are not installed.*",
    r".*Apex is not installed.*",
    r".*Could not determine rank from torch\.distributed.*",
    r".*full scope is deprecated.*",
    r".*is experimental and still under active development.*",
    r".*The \.grad attribute of a Tensor that is not a leaf.*",
    r".*Please use the new API settings to control TF32.*",
    # four on loading a checkpoint: of torch's own reader, and of Megatron's use of it
    r".*torch\.distributed is disabled, unavailable or uninitialized.*",
    r".*The argument order of load has been changed.*",
    r".*Please use DTensor instead.*",
    # Megatron's advice for overlapping communication on GPUs
    r".*When using async grad allreduce it is recommended.*",
    r".*`isinstance\(treespec, LeafSpec\)` is deprecated.*",
)


def hush_libraries() -> None:
    """Call before torch and Megatron are imported; processes that they start are hushed too."""
    for message in HIDDEN_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    # Megatron names GPTModel's freeze and its own default choices at level WARNING
    logging.getLogger("megatron.core").setLevel(logging.ERROR)
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    # the processes that write checkpoints import Megatron again
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
