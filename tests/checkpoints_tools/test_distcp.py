"""Pieces of a tensor, however a parallel layout cut it, make up the whole; damage of any of them is found."""

from contextlib import suppress

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from checkpoints_tools.distcp import Piece, StoredTensor, read_region
from megatron_recipe.errors import CheckpointError


def stored(folder, whole, cuts):
    """A tensor cut at `cuts` (positions for each dimension), its pieces one after the other in a file."""
    folder.mkdir(exist_ok=True)
    file = folder / "__0_0.distcp"
    bounds = [list(zip([0, *at], [*at, size], strict=True)) for at, size in zip(cuts, whole.shape, strict=True)]
    pieces = []
    with file.open("wb") as out:
        out.write(b"something before")
        for index in torch.cartesian_prod(*(torch.arange(len(one)) for one in bounds)).view(-1, whole.ndim).tolist():
            ranges = [bounds[dimension][at] for dimension, at in enumerate(index)]
            start = out.tell()
            part = whole[tuple(slice(first, last) for first, last in ranges)].clone()
            torch.save(part, out)
            offsets = tuple(first for first, _ in ranges)
            pieces.append(Piece(offsets, tuple(part.shape), file, start, out.tell() - start))
    return StoredTensor("weight", tuple(whole.shape), whole.dtype, tuple(pieces))


@st.composite
def cut_tensors(draw):
    shape = draw(st.lists(st.integers(1, 6), min_size=1, max_size=3))
    cuts = [sorted(draw(st.sets(st.integers(1, size - 1), max_size=2))) if size > 1 else [] for size in shape]
    return shape, cuts, draw(st.sampled_from([torch.float32, torch.bfloat16]))


@settings(max_examples=60, deadline=None)
@given(cut_tensors())
def test_any_grid_of_pieces_makes_up_the_whole_and_each_of_its_layers(tmp_path_factory, drawn):
    shape, cuts, dtype = drawn
    whole = torch.randn(shape).to(dtype)
    tensor = stored(tmp_path_factory.getbasetemp() / "grid", whole, cuts)
    assert torch.equal(read_region(tensor), whole)
    for layer in range(shape[0]):
        assert torch.equal(read_region(tensor, layer), whole[layer])


@pytest.fixture
def whole():
    return torch.arange(48.0).view(2, 4, 6)


def test_missing_pieces_are_no_zeros(tmp_path, whole):
    tensor = stored(tmp_path, whole, [[1], [2], []])
    lacking = StoredTensor(tensor.name, tensor.shape, tensor.dtype, tensor.pieces[:-1])
    assert torch.equal(read_region(lacking, 0), whole[0])
    for layer in (None, 1):
        with pytest.raises(CheckpointError, match="pieces don't make up the whole"):
            read_region(lacking, layer)


def test_every_changed_byte_of_the_values_is_found(tmp_path, whole):
    tensor = stored(tmp_path, whole[0], [[], []])
    file = tensor.pieces[0].file
    content = file.read_bytes()
    values = content.index(whole[0].numpy().tobytes())
    for at in range(values, values + 4 * 24, 5):
        file.write_bytes(content[:at] + bytes([content[at] ^ 16]) + content[at + 1 :])
        with pytest.raises(CheckpointError, match="its checksum differs"):
            read_region(tensor)


def test_no_changed_byte_gives_other_values_without_an_error(tmp_path, whole):
    """Also in the archive around them: the same values, or an error of ours."""
    tensor = stored(tmp_path, whole[0], [[], []])
    file = tensor.pieces[0].file
    content = file.read_bytes()
    for at in range(16, len(content), 7):
        file.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
        with suppress(CheckpointError):
            assert torch.equal(read_region(tensor), whole[0])


def test_a_file_cut_off_anywhere_is_refused(tmp_path, whole):
    tensor = stored(tmp_path, whole, [[1], [], []])
    file = tensor.pieces[0].file
    content = file.read_bytes()
    for length in range(0, len(content), 97):
        file.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"cannot be read|is stored as"):
            read_region(tensor)


def test_a_tensor_with_other_strides_and_another_object_are_refused(tmp_path, whole):
    tensor = stored(tmp_path, whole[0].T.clone(), [[], []])
    piece = tensor.pieces[0]
    with piece.file.open("wb") as out:
        out.write(b"something before")
        torch.save(whole[0].T, out)
    length = piece.file.stat().st_size - piece.start
    other = StoredTensor("weight", tensor.shape, tensor.dtype, (Piece((0, 0), (6, 4), piece.file, 16, length),))
    with pytest.raises(CheckpointError, match="not as a plain tensor"):
        read_region(other)
    with piece.file.open("wb") as out:
        out.write(b"something before")
        torch.save(torch.nn.Parameter(whole[0]), out)
    length = piece.file.stat().st_size - piece.start
    other = StoredTensor("weight", (4, 6), tensor.dtype, (Piece((0, 0), (4, 6), piece.file, 16, length),))
    with pytest.raises(CheckpointError, match="_rebuild_parameter is no part of a plain tensor"):
        read_region(other)
