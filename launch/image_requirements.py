"""The requirements of pyproject.toml and some of its extras, one a line, so that an image's packages need no code.

    python launch/image_requirements.py pyproject.toml gpu,tracking > requirements.txt

The code changes with every commit and the packages rarely: installed apart, they are a layer that is pushed once.
Transformer Engine is left out: NGC's images bring one that was built against their torch.
"""

import sys
import tomllib
from pathlib import Path

LEFT_OUT = "transformer-engine"


def requirements(pyproject: str, extras: list[str]) -> list[str]:
    """Requirement lines of the project, of these extras and of its build. Raises KeyError for an unknown extra."""
    settings = tomllib.loads(pyproject)
    project = settings["project"]
    lines = [*settings["build-system"]["requires"], *project["dependencies"]]
    for extra in extras:
        lines += project["optional-dependencies"][extra]
    return list(dict.fromkeys(line for line in lines if not line.startswith(LEFT_OUT)))


def main() -> None:
    """Print them."""
    extras = [extra for extra in sys.argv[2].split(",") if extra]
    print("\n".join(requirements(Path(sys.argv[1]).read_text(encoding="utf-8"), extras)))


if __name__ == "__main__":
    main()
