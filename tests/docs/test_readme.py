"""The READMEs are one page, and their map of folders is that of the repository."""

import re
import subprocess
from pathlib import Path

import pytest
from doc_pages import READMES, ROOT, name_of, text_of

from docs.generator.markdown import blocks

MAP_START = "megatron_recipe/ "


def folders_of_git() -> set[str]:
    """Every folder that holds tracked files, to a depth of two."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listing.returncode:
        pytest.skip("not a git checkout")
    parents = [Path(name).parent.parts for name in listing.stdout.split("\0") if (ROOT / name).is_file()]
    return {"/".join(parts[:depth]) for parts in parts_without_dots(parents) for depth in (1, 2) if len(parts) >= depth}


def parts_without_dots(parents: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    return [parts for parts in parents if parts and not parts[0].startswith(".")]


def folders_of_map(text: str) -> dict[str, set[str]]:
    """The folders that a README names, and those that it names within each."""
    (found,) = (block.text for block in blocks(text) if block.text.startswith(MAP_START))
    folders: dict[str, set[str]] = {}
    for line in found.splitlines():
        name, words = line[:21].strip(), line[21:]
        folder = name.rstrip("/") or next(reversed(folders))
        folders.setdefault(folder, set()).update(re.findall(r"([a-z_]+)/", words))
    return folders


@pytest.mark.parametrize("readme", READMES, ids=name_of)
def test_the_map_is_that_of_the_repository(readme: Path) -> None:
    there, named = folders_of_git(), folders_of_map(text_of(readme))
    assert set(named) == {folder for folder in there if "/" not in folder}
    for folder in ("megatron_recipe", "data_prep"):
        assert named[folder] == {path.split("/")[1] for path in there if path.startswith(f"{folder}/")}


@pytest.mark.parametrize("readme", READMES, ids=name_of)
def test_a_readme_is_one_page(readme: Path) -> None:
    assert len(text_of(readme).splitlines()) < 100
