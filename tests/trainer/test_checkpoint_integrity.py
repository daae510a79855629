"""Every byte of a checkpoint counts: each kind of damage to each file is found, and the file is named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from megatron_recipe.checkpoint_integrity import (
    HASHES,
    INTEGRITY,
    MARKER,
    damage,
    hash_files,
    write_integrity,
    write_marker,
)
from megatron_recipe.files import sha256_file

DATA_FILES = ("__0_0.distcp", "__0_1.distcp", "__1_0.distcp", ".metadata", "common.pt", "metadata.json")
FILES = (*DATA_FILES, INTEGRITY, MARKER)


def write_checkpoint(folder: Path) -> Path:
    """A folder as two ranks and the first one leave it; contents are made up, names are Megatron's."""
    folder.mkdir(parents=True)
    for number, name in enumerate(DATA_FILES):
        (folder / name).write_bytes(bytes((number * 37 + place * place) % 251 for place in range(600)))
    hash_files(folder, ["__0_0.distcp", "__0_1.distcp"], 0)
    hash_files(folder, ["__1_0.distcp"], 1)
    write_integrity(folder)
    write_marker(folder, {"step": 5, "validation_loss": 1e-05, "data": {"datasets/中文": "a" * 64}})
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("whole") / "step_00000005")


@pytest.fixture
def checkpoint(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / whole.name))


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cut_by_a_byte(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def delete(path: Path) -> None:
    path.unlink()


def turn_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0b100
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def fill_with_zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def swap(path: Path) -> None:
    """With the file after it in the list."""
    other = path.with_name(FILES[(FILES.index(path.name) + 1) % len(FILES)])
    ours, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(ours)


def make_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


KINDS = (cut_in_half, cut_by_a_byte, delete, turn_a_bit, empty, fill_with_zeros, append, swap, make_a_folder)


def test_an_untouched_checkpoint_passes(checkpoint):
    assert damage(checkpoint) is None


def test_a_copy_at_another_place_passes(checkpoint, tmp_path):
    assert damage(Path(shutil.copytree(checkpoint, tmp_path / "elsewhere/step_00000005"))) is None


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("name", FILES)
def test_each_kind_of_damage_to_each_file_is_found_and_named(checkpoint: Path, name: str, kind: Callable) -> None:
    kind(checkpoint / name)
    found = damage(checkpoint)
    assert found is not None
    # of two swapped files one is enough: what integrity.json says of the rest is not believed once it was changed
    names = {name, FILES[(FILES.index(name) + 1) % len(FILES)]} if kind is swap else {name}
    assert any(one in found for one in names), found


@pytest.mark.parametrize("step", [1, 7, 8, 13])
def test_every_bit_of_the_marker_counts(checkpoint, step):
    content = (checkpoint / MARKER).read_bytes()
    for place in range(0, len(content) * 8, step * 11):
        turned = bytearray(content)
        turned[place // 8] ^= 1 << (place % 8)
        (checkpoint / MARKER).write_bytes(turned)
        assert damage(checkpoint) is not None, (place, turned)


def test_the_same_values_written_otherwise_are_damage(checkpoint):
    text = (checkpoint / MARKER).read_text(encoding="utf-8")
    assert "1e-05" in text
    (checkpoint / MARKER).write_text(text.replace("1e-05", "1E-05"), encoding="utf-8")
    assert damage(checkpoint) == f"{MARKER} was changed"


@pytest.mark.parametrize("content", ["[]", "[\n 1\n]", "7", "null", '"text"', "{}", '{\n "sha256": "x"\n}'])
def test_a_marker_that_is_none_is_damage(checkpoint, content):
    for end in ("\n", ""):  # with the end of line it is text as this project writes it
        (checkpoint / MARKER).write_text(content + end, encoding="utf-8")
        assert (damage(checkpoint) or "").startswith(MARKER)


def test_what_cannot_be_read_is_told_by_its_name(checkpoint):
    (checkpoint / INTEGRITY).unlink()
    assert (damage(checkpoint) or "").startswith(f"{INTEGRITY}: FileNotFoundError")


def test_a_changed_fact_of_the_marker_is_found(checkpoint):
    marker = json.loads((checkpoint / MARKER).read_text(encoding="utf-8"))
    (checkpoint / MARKER).write_text(json.dumps({**marker, "step": 6}, indent=1, ensure_ascii=False) + "\n")
    assert damage(checkpoint) == f"{MARKER} was changed"


def test_marker_and_checksums_of_another_checkpoint_do_not_fit(checkpoint, tmp_path):
    other = write_checkpoint(tmp_path / "other")
    (other / "common.pt").write_bytes(b"another model")
    write_integrity(other)
    write_marker(other, {"step": 5})
    for name in (INTEGRITY, MARKER):
        shutil.copy(other / name, checkpoint / name)
    assert damage(checkpoint) == "common.pt differs from its checksum"


def test_three_problems_are_named_and_the_rest_counted(checkpoint):
    for name in DATA_FILES[:5]:
        (checkpoint / name).unlink()
    found = damage(checkpoint)
    assert found is not None and found.count("is missing") == 3 and found.endswith("; and 2 more")


def test_the_list_has_all_files_and_leaves_no_part_of_itself(checkpoint):
    listed = json.loads((checkpoint / INTEGRITY).read_text(encoding="utf-8"))
    assert listed["algorithm"] == "sha256"
    assert listed["files"] == {name: sha256_file(checkpoint / name) for name in sorted(DATA_FILES)}
    assert list(checkpoint.glob(HASHES.format("*"))) == []
    assert {path.name for path in checkpoint.iterdir()} == set(FILES)


def test_checksums_are_those_of_the_processes_that_wrote(tmp_path):
    """A file that changed between its writer's hash and the list is damaged, and not hashed anew."""
    folder = tmp_path / "step_00000001"
    folder.mkdir()
    (folder / "__0_0.distcp").write_bytes(b"as written")
    hash_files(folder, ["__0_0.distcp"], 0)
    (folder / "__0_0.distcp").write_bytes(b"as the disk gave it back")
    write_integrity(folder)
    write_marker(folder, {})
    assert damage(folder) == "__0_0.distcp differs from its checksum"


def test_ranks_read_the_files_together(tmp_path):
    folder = write_checkpoint(tmp_path / "checkpoint")
    assert [damage(folder, (rank, 3)) for rank in range(3)] == [None] * 3
    (folder / "common.pt").write_bytes(b"damaged")
    parts = [damage(folder, (rank, 3)) for rank in range(3)]
    assert [problem for problem in parts if problem] == ["common.pt differs from its checksum"]
    (folder / MARKER).write_text("{", encoding="utf-8")
    assert all(damage(folder, (rank, 3)) for rank in range(3))  # what says what there is, each reads
