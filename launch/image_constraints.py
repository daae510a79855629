"""Constraints that keep what an image brings: its torch and all that was built against it stay as they are.

Run by setup_env.sh and image_packages.sh inside a venv that sees the image's packages:
    python launch/image_constraints.py requirements.lock > constraints.txt
    python launch/image_constraints.py requirements.lock torch==2.10.0 > constraints.txt   (not the lock's torch)

Three kinds of packages:
- built against the image's torch, CUDA or numpy (BOUND_TO_TORCH): pinned to the image's version, never replaced;
- otherwise in the image, or pinned by a constraints file that the image sets (NGC sets PIP_CONSTRAINT): no pin from
  the lock, so pip keeps the image's where it satisfies pyproject.toml and puts a newer one into the venv where not;
- everything else: the lock's version.
"""

import os
import re
import sys
from collections.abc import Iterable
from importlib.metadata import distributions
from pathlib import Path

BOUND_TO_TORCH = re.compile(
    r"torch|torchvision|torchaudio|torchao|triton|pytorch-triton|transformer-engine.*|apex|flash-attn.*|numpy"
    r"|nvidia-.*|cuda-.*|nvfuser.*"
)


def normalized(name: str) -> str:
    """A distribution's name as PEP 503 writes it: lower case, runs of "-", "_" and "." as one "-"."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins_in(text: str) -> dict[str, str]:
    """{normalized name: line} of the requirement lines of a constraints file."""
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    return {normalized(re.split(r"[\s=<>!~;\[@]", line)[0]): line for line in lines if line and line[0].isalnum()}


def constraints_for_image(lock: str, installed: dict[str, str], constrained_by_image: Iterable[str]) -> list[str]:
    """Lines of a constraints file, from the lock's text, {name: version} of the image, names the image constrains."""
    bound = {name: version for name, version in installed.items() if BOUND_TO_TORCH.fullmatch(name)}
    left_to_the_image = {*installed, *constrained_by_image}
    # The lock's CUDA wheels belong to the lock's torch; beside another torch they would only be in its way.
    kept = [
        line
        for name, line in pins_in(lock).items()
        if name not in left_to_the_image and not BOUND_TO_TORCH.fullmatch(name)
    ]
    return [f"{name}=={version}" for name, version in sorted(bound.items())] + kept


def constraints_with(lock: str, pins: Iterable[str]) -> list[str]:
    """Lines of a constraints file for a torch of one's own that differs from the lock's: `pins` and what is left.

    What torch brings along (CUDA's wheels, Triton) follows the wished torch, not the lock.
    """
    wished = [pin for text in pins for pin in text.split()]
    names = {normalized(pin.split("==")[0]) for pin in wished}
    follows = {name for name in pins_in(lock) if BOUND_TO_TORCH.fullmatch(name) and name != "numpy"}
    return wished + [line for name, line in pins_in(lock).items() if name not in names | follows]


def image_distributions() -> dict[str, str]:
    """{normalized name: version} of what this venv sees but does not hold itself."""
    venv = Path(sys.prefix)
    outside = [d for d in distributions() if venv not in Path(str(d.locate_file(""))).parents]
    return {normalized(d.metadata["Name"]): d.version for d in outside if d.metadata["Name"]}


def main() -> None:
    """Print the constraints for the Python that runs this."""
    if len(sys.argv) > 2:
        print("\n".join(constraints_with(Path(sys.argv[1]).read_text(encoding="utf-8"), sys.argv[2:])))
        return
    installed = image_distributions()
    files = [Path(name) for name in os.environ.get("PIP_CONSTRAINT", "").split()]
    constrained = [name for file in files if file.is_file() for name in pins_in(file.read_text(encoding="utf-8"))]
    print("\n".join(constraints_for_image(Path(sys.argv[1]).read_text(encoding="utf-8"), installed, constrained)))


if __name__ == "__main__":
    main()
