"""The images of launch/images.json: how each is built, and what was pushed. Called by build_image.sh and push_image.sh.

python launch/images.py args slim                 build arguments, one NAME=VALUE a line
python launch/images.py record IMAGE DIGEST REVISION VARIANT TARGET
"""

import json
import re
import sys
import time
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("images.json")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def build_arguments(images: dict[str, Any], variant: str) -> list[str]:
    """NAME=VALUE of each build argument. Exits with 2 for an unknown variant."""
    if variant not in images["variants"]:
        print(f"image: --variant {variant} is not known; {', '.join(images['variants'])} are", file=sys.stderr)
        sys.exit(2)
    return [f"{name}={value}" for name, value in images["variants"][variant]["build_args"].items()]


def record(images: dict[str, Any], image: str, digest: str, revision: str, variant: str, target: str) -> None:
    """Add a push in place, the newest first, instead of one of the same name. Exits with 1 for no digest."""
    if not DIGEST.fullmatch(digest):
        sys.exit(f"image: the registry gave no digest for {image}, but {digest!r}")
    built = images["variants"][variant]
    entry = {
        "image": image,
        "digest": digest,
        "revision": revision,
        "variant": variant,
        "target": target,
        "cuda": built["cuda"],
        "driver": built["driver"],
        "pushed": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    images["pushed"] = [entry, *(one for one in images["pushed"] if one["image"] != image)]


def main() -> None:
    """Do what the command line asks for."""
    images = json.loads(FILE.read_text(encoding="utf-8"))
    if sys.argv[1] == "args":
        print("\n".join(build_arguments(images, sys.argv[2])))
    else:
        record(images, *sys.argv[2:])
        FILE.write_text(json.dumps(images, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
