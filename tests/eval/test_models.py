"""What can be evaluated: folders of Hugging Face, runs and checkpoints of ours."""

import shutil

import pytest

from eval.models import check_model, find_model
from eval.perplexity import Reading, evaluate_sets
from megatron_recipe.checkpoint_integrity import MARKER
from megatron_recipe.errors import CheckpointError


def test_a_hugging_face_folder_is_taken_as_it_is(model_dir):
    found = find_model(model_dir)
    assert found.folder == found.source == found.home == check_model(model_dir) == model_dir


def test_a_folder_that_is_no_model_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"not a Hugging Face folder .*, nor a run or a checkpoint"):
        find_model(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"no tokenizer\.json"):
        check_model(tmp_path)


def test_a_run_is_exported_once_for_each_checkpoint(half_run, dataset, tmp_path, capsys):
    run = shutil.copytree(half_run, tmp_path / "run")
    found = find_model(run)
    checkpoint = run / "checkpoints/step_00000005"
    assert (found.source, found.home) == (checkpoint, run)
    assert found.folder == run / "eval/models/step_00000005" and (found.folder / "model.safetensors").is_file()
    assert capsys.readouterr().err.count("exporting") == 1
    assert find_model(checkpoint) == found
    assert "exporting" not in capsys.readouterr().err
    (checkpoint / MARKER).touch()  # the step was saved anew
    find_model(run)
    assert capsys.readouterr().err.count("exporting") == 1
    split = evaluate_sets(found.folder, {"validation": dataset}, Reading(8, max_tokens=2000))["splits"]["validation"]
    assert 2 < split["loss"] < 12 and split["unigram_loss"] is not None
