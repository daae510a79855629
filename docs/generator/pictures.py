"""Make the pictures of the pages from a run. Run: python -m docs.generator.pictures runs/demo [REFERENCE]

The head of the run's report (photographed by headless Chromium) and a frame of `watch` (drawn by rich), in both
languages, to docs/images/. With the name of a reference curve only the frame, with its band.
"""

import html
import io
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMAGES = Path(__file__).parents[1] / "images"
LANGUAGES = ("en", "zh")
REPORT_SIZE = (1100, 1345)  # to below the loss curve
COLOURS = 160  # of a photograph: a page of text and lines needs no more, and is half as large
COLUMNS, LINES = 112, 30
CELL_WIDTH = 12.2  # of a column in rich's SVG
TEXT = re.compile(r'(<text [^>]*)textLength="[\d.]+"([^>]*>)([^<]*)</text>')
BROWSER = (
    "chromium",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


def photograph(page: Path, picture: Path, profile: Path, width: int, height: int) -> None:
    """Save what a browser of that size shows of a page."""
    from PIL import Image

    options = (f"--user-data-dir={profile}", f"--screenshot={picture}", f"--window-size={width},{height}")
    subprocess.run((*BROWSER, *options, page.resolve().as_uri()), check=True, capture_output=True, timeout=120)
    with Image.open(picture) as image:
        image.convert("RGB").quantize(COLOURS).save(picture, optimize=True)


def draw_frame(run: Path, picture: Path, language: str, reference: str | None = None) -> None:
    """Save a frame of `watch` as an SVG that needs no font from elsewhere."""
    from rich.console import Console
    from rich.terminal_theme import MONOKAI

    from megatron_recipe.references.standing import standing_in
    from megatron_recipe.watch.frame import frame
    from megatron_recipe.watch.run_view import RunView
    from megatron_recipe.watch.words import Words

    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, highlight=False)
    view = RunView(run, standing_in(reference))
    view.refresh()
    console.print(frame(view, Words(language), COLUMNS, LINES, time.time()))
    option = f" --reference {reference}" if reference else ""
    svg = console.export_svg(title=f"megatron-recipe watch runs/{run.name}{option}", theme=MONOKAI)
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    picture.write_text(TEXT.sub(with_its_width, svg), encoding="utf-8")


def with_its_width(match: re.Match[str]) -> str:
    """A text of the SVG with the width of its columns: rich counts a Chinese character as one, and it takes two."""
    from rich.cells import cell_len

    width = CELL_WIDTH * cell_len(html.unescape(match[3]))
    return f'{match[1]}textLength="{width:g}"{match[2]}{match[3]}</text>'


def main(run: Path, reference: str | None = None) -> None:
    """Make all pictures of a run, or that of its place in the band of a reference."""
    from megatron_recipe.report import report_command

    if reference:
        for language in LANGUAGES:
            draw_frame(run, IMAGES / f"watch_reference_{language}.svg", language, reference)
        return
    with tempfile.TemporaryDirectory() as work:
        for language in LANGUAGES:
            page = Path(work) / f"{language}.html"
            report_command(run, language, page, False, False, (), None)
            photograph(page, IMAGES / f"report_{language}.png", Path(work) / "browser", *REPORT_SIZE)
            draw_frame(run, IMAGES / f"watch_{language}.svg", language)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])
