"""The format must be that of Megatron-Core to the byte, and reading must notice every kind of damage."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.megatron_writer import MegatronWriter, dtype_for, merge, read_index, read_tokens
from megatron_recipe.errors import DataError

EOD = 1
documents_strategy = st.lists(st.lists(st.integers(2, 4095), min_size=1, max_size=20), max_size=12)


def write(prefix, documents, vocab_size=4096):
    with MegatronWriter(prefix, vocab_size, EOD) as writer:
        writer.add_documents([np.array(ids, dtype=np.int32) for ids in documents])


def write_with_megatron(prefix, documents, vocab_size):
    import torch
    from megatron.core.datasets.indexed_dataset import DType, IndexedDatasetBuilder

    builder = IndexedDatasetBuilder(str(prefix.with_suffix(".bin")), dtype=DType.optimal_dtype(vocab_size))
    for ids in documents:
        builder.add_document(torch.tensor([*ids, EOD]), [len(ids) + 1])
    builder.finalize(str(prefix.with_suffix(".idx")))


@pytest.mark.parametrize("vocab_size", [4096, 65_499, 65_500, 128_000])
def test_bytes_are_those_of_megatrons_builder(tmp_path, vocab_size):
    documents = [[2, 3, 4], [5], list(range(2, 500)), [vocab_size - 1, 0, 2]]
    write(tmp_path / "ours", documents, vocab_size)
    write_with_megatron(tmp_path / "theirs", documents, vocab_size)
    for suffix in (".bin", ".idx"):
        ours, theirs = (tmp_path / f"{name}{suffix}" for name in ("ours", "theirs"))
        assert ours.read_bytes() == theirs.read_bytes()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(documents=documents_strategy)
def test_any_documents_give_megatrons_bytes_and_come_back(tmp_path, documents):
    write(tmp_path / "ours", documents)
    write_with_megatron(tmp_path / "theirs", documents, 4096)
    for suffix in (".bin", ".idx"):
        ours, theirs = (tmp_path / f"{name}{suffix}" for name in ("ours", "theirs"))
        assert ours.read_bytes() == theirs.read_bytes()
    index, tokens = read_tokens(tmp_path / "ours")
    assert tokens.tolist() == [i for ids in documents for i in [*ids, EOD]]
    assert index.lengths.tolist() == [len(ids) + 1 for ids in documents]


def test_megatron_reads_what_was_merged(tmp_path):
    from megatron.core.datasets.indexed_dataset import IndexedDataset

    parts = [[[2, 3], [4]], [], [[5, 6, 7]]]
    for number, documents in enumerate(parts):
        write(tmp_path / f"part{number}", documents)
    merge([tmp_path / f"part{number}" for number in range(3)], tmp_path / "whole", 4096)
    write(tmp_path / "at_once", [d for documents in parts for d in documents])
    for suffix in (".bin", ".idx"):
        assert (tmp_path / f"whole{suffix}").read_bytes() == (tmp_path / f"at_once{suffix}").read_bytes()
    dataset = IndexedDataset(str(tmp_path / "whole"))
    assert [dataset[i].tolist() for i in range(len(dataset))] == [[2, 3, 1], [4, 1], [5, 6, 7, 1]]


def test_the_type_of_ids_is_megatrons_choice():
    from megatron.core.datasets.indexed_dataset import DType

    for vocab_size in (100, 65_499, 65_500, 65_536, 200_000):
        assert dtype_for(vocab_size) == np.dtype(DType.optimal_dtype(vocab_size))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-8], "its header asks for"),
        (lambda content: b"PK" + content[2:], "not a Megatron index"),
        (lambda content: content[:9] + b"\2" + content[10:], "version 2"),
        (lambda content: b"", "not a Megatron index"),
    ],
)
def test_a_damaged_index_is_named(tmp_path, damage, message):
    write(tmp_path / "data", [[2, 3], [4]])
    path = tmp_path / "data.idx"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=message):
        read_index(path)


def test_a_shortened_bin_is_named(tmp_path):
    write(tmp_path / "data", [[2, 3], [4]])
    path = tmp_path / "data.bin"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(DataError, match="has 8 bytes, but its index asks for 10"):
        read_tokens(tmp_path / "data")
    path.unlink()
    with pytest.raises(DataError, match="is missing"):
        read_tokens(tmp_path / "data")


def test_a_failed_write_leaves_no_index(tmp_path):
    with pytest.raises(KeyError), MegatronWriter(tmp_path / "data", 4096, EOD):
        raise KeyError("anything")
    assert not (tmp_path / "data.idx").exists()
