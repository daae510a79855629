"""Datasets whose files are not as long as their manifest says, for example after a copy that broke off."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands import ROOT
from flows import training_is_refused
from small_runs import arguments

from megatron_recipe.dataset_facts import read_dataset_facts
from megatron_recipe.errors import DataError

FILES = [f"{split}.{suffix}" for split in ("train", "validation") for suffix in ("bin", "idx")]


@pytest.fixture
def copy(dataset: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(dataset, tmp_path / "copy"))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(("change", "reason"), [(-2, "a copy that broke off"), (2, "a file of another dataset")])
def test_a_file_of_another_size_is_named_with_both_sizes_and_the_remedy(copy, name, change, reason):
    whole = (copy / name).stat().st_size
    os.truncate(copy / name, whole + change)
    with pytest.raises(DataError) as caught:
        read_dataset_facts(copy)
    message = str(caught.value)
    assert f"{copy / name}: has {whole + change:,} bytes, but by its manifest it must have {whole:,}" in message
    assert reason in message and "copy it there again or prepare the dataset again" in message


def test_training_and_its_dry_run_say_it_before_they_begin(copy, tmp_path):
    os.truncate(copy / "train.bin", 100_000)
    for how in ([], ["--dry-run"]):
        said = training_is_refused(tmp_path, "gpt_tiny_cpu", *arguments(copy, tmp_path / "run"), *how)
        assert "train.bin: has 100,000 bytes" in said
    assert not (tmp_path / "run").exists()


def test_looking_at_the_sizes_loads_neither_torch_nor_numpy(dataset):
    code = (
        "import sys; from pathlib import Path; from megatron_recipe.dataset_facts import read_dataset_facts; "
        f"read_dataset_facts(Path({str(dataset)!r})); assert not {{'torch', 'numpy'}} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
