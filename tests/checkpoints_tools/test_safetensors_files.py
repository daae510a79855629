"""Safetensors written and read one tensor at a time: the library's own files, and one error for a damaged one."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from checkpoints_tools.safetensors_files import INDEX, WHOLE, SafetensorsFolder, write_safetensors
from megatron_recipe.errors import CheckpointError
from megatron_recipe.files import sha256_file

TENSORS = {"a": (3, 4), "norm": (5,), "b.weight": (2, 1, 3), "scalar": ()}


def tensors(dtype=torch.bfloat16):
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(shape, generator=generator).to(dtype) for name, shape in TENSORS.items()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_library_reads_what_was_written(tmp_path, dtype):
    sums = write_safetensors(tmp_path, TENSORS, dtype, tensors(dtype).items(), 10**6)
    assert sums == {WHOLE: sha256_file(tmp_path / WHOLE)} and not (tmp_path / INDEX).exists()
    found = load_file(tmp_path / WHOLE)
    assert all(
        torch.equal(found[name], tensor) and found[name].dtype == dtype for name, tensor in tensors(dtype).items()
    )


def test_what_the_library_wrote_is_read(tmp_path):
    save_file(tensors(), tmp_path / WHOLE)
    folder = SafetensorsFolder(tmp_path)
    assert all(torch.equal(folder.read(name), tensor) for name, tensor in tensors().items())
    with pytest.raises(CheckpointError, match="lacks the weight other"):
        folder.read("other")


def test_shards_hold_no_more_than_they_may_and_the_index_finds_all(tmp_path):
    sums = write_safetensors(tmp_path, TENSORS, torch.float32, tensors(torch.float32).items(), 60)
    index = json.loads((tmp_path / INDEX).read_text())
    # 48, 20 + 24 and 4 bytes: the second and the third fit together, and the last one too
    assert [sorted(load_file(tmp_path / name)) for name in sorted(sums)] == [["a"], ["b.weight", "norm", "scalar"]]
    assert list(sums) == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    assert index["metadata"]["total_size"] == 4 * (12 + 5 + 6 + 1) and index["weight_map"]["norm"] == list(sums)[1]
    folder = SafetensorsFolder(tmp_path)
    assert all(torch.equal(folder.read(name), tensor) for name, tensor in tensors(torch.float32).items())


def test_a_tensor_that_is_not_the_announced_one_is_our_bug(tmp_path):
    with pytest.raises(AssertionError, match="not a"):
        write_safetensors(tmp_path, TENSORS, torch.float32, tensors(torch.bfloat16).items(), 10**6)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def other_header(path, old, new):
    assert old in path.read_bytes() and len(old) == len(new)
    path.write_bytes(path.read_bytes().replace(old, new))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut, "cut off: scalar ends at byte"),
        (lambda path: path.write_bytes(path.read_bytes()[:50]), "header is longer than the file"),
        (lambda path: path.write_bytes(b""), "not a whole safetensors file"),
        (lambda path: other_header(path, b'"BF16"', b'"F999"'), "type 'F999' is not known"),
        (lambda path: other_header(path, b"[3,4]", b"[3,5]"), "a has other bytes than its shape"),
        (lambda path: other_header(path, b'{"__meta', b'["__meta'), "not a whole safetensors file"),
        (lambda path: path.unlink(), "not a Hugging Face folder"),
    ],
)
def test_a_damaged_file_is_one_clear_error(tmp_path, damage, words):
    write_safetensors(tmp_path, TENSORS, torch.bfloat16, tensors().items(), 10**6)
    damage(tmp_path / WHOLE)
    with pytest.raises(CheckpointError, match=words):
        SafetensorsFolder(tmp_path)


def test_a_missing_shard_and_a_damaged_index_are_named(tmp_path):
    sums = write_safetensors(tmp_path, TENSORS, torch.float32, tensors(torch.float32).items(), 60)
    (tmp_path / list(sums)[1]).unlink()
    with pytest.raises(CheckpointError, match=r"00002-of-00002\.safetensors is missing \(1 of 2 files"):
        SafetensorsFolder(tmp_path)
    (tmp_path / INDEX).write_text('{"weight_map": 3}')
    with pytest.raises(CheckpointError, match=r"index\.json: damaged"):
        SafetensorsFolder(tmp_path)
