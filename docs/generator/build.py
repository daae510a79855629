"""Build the documentation as a site in both languages, without a network. Run: make docs

or: python -m docs.generator.build [FOLDER], by default site/. Any warning of Sphinx, such as a link that leads nowhere,
is an error. The pages open from the disk, too: site/index.html, search included.
"""

import sys
import tempfile
from pathlib import Path

from docs.generator.stage import CHINESE, ENGLISH, Language, other, stage

GENERATOR = Path(__file__).parent
START = """<!doctype html>
<html><head><meta charset="utf-8"><title>megatron-recipe</title>
<script>location.replace((navigator.language || "").startsWith("zh") ? "zh/index.html" : "en/index.html")</script>
</head><body><a href="en/index.html">English</a> · <a href="zh/index.html">中文</a></body></html>
"""


def build_language(docs: Path, language: Language, out: Path, work: Path) -> int:
    """Build one language into `out`; `work` holds what Sphinx reads and keeps. Returns Sphinx's exit code."""
    from sphinx.cmd.build import build_main

    sources = work / language.folder
    stage(docs, language, sources)
    switch = other(language)
    settings = {
        "language": language.sphinx,
        "html_context.switch_folder": switch.folder,
        "html_context.switch_name": switch.name,
    }
    options = [word for name, value in settings.items() for word in ("-D", f"{name}={value}")]
    doctrees = str(work / f"doctrees_{language.folder}")
    return build_main(
        ["-q", "-W", "--keep-going", "-c", str(GENERATOR), "-d", doctrees, *options, str(sources), str(out)]
    )


def build(docs: Path, out: Path) -> int:
    """Build both languages below `out` and the page that chooses between them. Returns 0, or Sphinx's exit code."""
    with tempfile.TemporaryDirectory() as work:
        codes = [build_language(docs, language, out / language.folder, Path(work)) for language in (ENGLISH, CHINESE)]
    (out / "index.html").write_text(START, encoding="utf-8")
    return max(codes)


if __name__ == "__main__":
    place = Path(sys.argv[1] if len(sys.argv) > 1 else "site")
    failed = build(GENERATOR.parent, place)
    print("failed: see above" if failed else f"open {place}/index.html", file=sys.stderr)
    sys.exit(failed)
