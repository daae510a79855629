"""Exports of real runs: proved equal, complete, and refused with one clear message where something is wrong."""

import json
import shutil

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from whole_model import hf_to_megatron

from checkpoints_tools import to_hf, weight_map
from checkpoints_tools.export_plan import plan_export
from checkpoints_tools.megatron_checkpoint import checkpoint_facts, find_checkpoint, read_model_weights
from checkpoints_tools.model_card import source_rows
from checkpoints_tools.to_hf import export_run
from checkpoints_tools.weights_checkpoint import write_weights_checkpoint
from megatron_recipe.errors import CheckpointError, ConfigError

ARCHITECTURES = ("tied", "untied_qk_norm")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_and_token_ids_are_proved_equal(exports, architecture):
    folder, export = exports[architecture]
    comparison = export["comparison"]
    assert comparison["passed"] and comparison["top1_agreement"] == 1.0
    assert comparison["max_abs_difference"] < 1e-4 and comparison["kl"] < 1e-6
    assert comparison["tokens"] == 4096 and comparison["documents"] == 4096 / 64
    assert export["tokenizer"] == {"documents": 27, "ids_equal": True}
    assert export["step"] == 4
    assert json.loads((folder / "export.json").read_text()) == export


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_weights_go_back_to_megatron_bitwise(exports, runs, architecture):
    folder, _ = exports[architecture]
    plan = plan_export(runs / architecture)
    saved = read_model_weights(plan.checkpoint)
    hf = load_file(folder / "model.safetensors")
    back = hf_to_megatron(hf, plan.shape, len(saved["embedding.word_embeddings.weight"]))
    assert back.keys() == saved.keys()
    for name, weight in back.items():
        rows = plan.shape.vocab_size if "embedding" in name or "output_layer" in name else len(weight)
        assert torch.equal(weight[:rows], saved[name][:rows].to(weight.dtype)), name


def test_config_holds_what_decides_the_arithmetic(exports):
    folder, _ = exports["tied"]
    config = json.loads((folder / "config.json").read_text())
    expected = {
        "architectures": ["LlamaForCausalLM"],
        "rope_parameters": {"rope_theta": 500000.0, "rope_type": "default"},
        "rope_theta": 500000.0,
        "rms_norm_eps": 1e-6,
        "head_dim": 16,
        "num_key_value_heads": 2,
        "vocab_size": 500,
        "max_position_embeddings": 64,
        "tie_word_embeddings": True,
        "bos_token_id": 1,
        "eos_token_id": 1,
        "dtype": "float32",
    }
    assert {key: config[key] for key in expected} == expected
    generation = json.loads((folder / "generation_config.json").read_text())
    assert (generation["eos_token_id"], generation["pad_token_id"]) == (1, 1)
    other, _ = exports["untied_qk_norm"]
    config = json.loads((other / "config.json").read_text())
    assert (config["architectures"], config["head_dim"], config["dtype"]) == (["Qwen3ForCausalLM"], 32, "bfloat16")


def test_auto_classes_load_and_generate(exports):
    folder, _ = exports["tied"]
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    tokens = tokenizer("The function", return_tensors="pt")
    output = model.generate(**tokens, max_new_tokens=5, do_sample=False)
    assert tokens["input_ids"].shape[1] < output.shape[1] <= tokens["input_ids"].shape[1] + 5


def test_the_card_tells_the_runs_facts(exports):
    folder, _ = exports["tied"]
    card = (folder / "README.md").read_text(encoding="utf-8")
    front_matter = yaml.safe_load(card.split("---")[1])
    assert front_matter["language"] == ["en", "zh"] and front_matter["library_name"] == "transformers"
    assert "| docs | PSF-2.0 | en | 120 | 1.0 |" in card
    assert "1,024" in card and "nats per token at step 4" in card and "27 held-out documents" in card
    assert all(file.stat().st_mode & 0o044 == 0o044 for file in folder.iterdir())


def test_the_card_lists_the_largest_sources_and_sums_up_the_rest():
    sources = [
        {"name": f"s|{i}", "license": "MIT", "language": "en", "documents": 2, "bytes": 10**6 * i} for i in range(23)
    ]
    rows = source_rows(sources)
    assert len(rows) == 21
    assert rows[0] == "| s\\|22 | MIT | en | 2 | 22.0 |"
    assert rows[-1] == "| 3 more / 另外 3 个 |  |  | 6 | 3.0 |"
    assert "not recorded" in source_rows([])[0]


def test_a_wrong_layout_is_caught_and_leaves_nothing(runs, tmp_path, monkeypatch):
    """The proof can fail; more planted mistakes are in test_compare_logits.py and in the tests of the map."""
    wrong = {"self_attention.linear_qkv.weight": lambda weight, shape: weight.split((64, 32, 32))}
    rows = tuple(row._replace(split=wrong.get(row.megatron, row.split)) for row in weight_map.LAYER_ROWS)
    monkeypatch.setattr(weight_map, "LAYER_ROWS", rows)
    with pytest.raises(CheckpointError, match=r"other logits than Megatron, from layer 0 on"):
        export_run(runs / "tied", tmp_path / "out", max_tokens=64)
    assert list(tmp_path.iterdir()) == []


def test_no_compare_says_so(runs, tmp_path):
    export = export_run(runs / "tied", tmp_path / "out", compare=False)
    assert export["comparison"] is None
    assert "not compared" in (tmp_path / "out/README.md").read_text(encoding="utf-8")


def test_an_older_export_is_replaced_and_any_other_folder_is_not(runs, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="not an export"):
        export_run(runs / "tied", out, compare=False)
    assert (out / "thesis.tex").exists()
    (out / "thesis.tex").rename(out / "export.json")
    export_run(runs / "tied", out, compare=False)
    assert json.loads((out / "export.json").read_text())["step"] == 4
    export_run(runs / "tied", out, compare=False)  # the same run once more
    shutil.copytree(runs / "tied", tmp_path / "other")
    with pytest.raises(ConfigError, match=r"is the export of another run, .*tied.*; choose another folder"):
        export_run(tmp_path / "other", out, compare=False)


def test_other_token_ids_are_refused(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(to_hf, "count_id_differences", lambda *_: (2, 27))
    with pytest.raises(CheckpointError, match="2 of 27"):
        export_run(runs / "tied", tmp_path / "out", compare=False)
    assert list(tmp_path.iterdir()) == []


def copy_of_dataset(dataset, tmp_path):
    return shutil.copytree(dataset, tmp_path / "copy")


def test_a_missing_or_changed_tokenizer_is_named(runs, dataset, tmp_path):
    copy = copy_of_dataset(dataset, tmp_path)
    model = copy / "tokenizer/tokenizer.model"
    model.write_bytes(model.read_bytes() + b"\0")
    with pytest.raises(CheckpointError, match="not the tokenizer that the dataset was made with"):
        plan_export(runs / "tied", copy)
    model.unlink()
    with pytest.raises(CheckpointError, match=r"no tokenizer for .*tokenizer\.model is missing"):
        plan_export(runs / "tied", copy)
    with pytest.raises(CheckpointError, match="--dataset"):
        plan_export(runs / "tied", tmp_path / "nowhere")


def test_a_dataset_with_another_vocabulary_is_refused(runs, dataset, tmp_path):
    copy = copy_of_dataset(dataset, tmp_path)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["tokenizer"]["vocab_size"] = 499
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match=r"499 ids.*500"):
        plan_export(runs / "tied", copy)


def test_a_checkpoint_of_another_architecture_is_refused(run_copy):
    marker = find_checkpoint(run_copy) / "checkpoint.json"
    facts = json.loads(marker.read_text())
    facts["model"]["num_layers"] = 2
    marker.write_text(json.dumps(facts))
    with pytest.raises(CheckpointError, match=r"not the weights of a Llama-like model"):
        plan_export(run_copy)


def test_a_checkpoint_outside_its_run_needs_the_dataset(runs, dataset, tmp_path):
    alone = shutil.copytree(find_checkpoint(runs / "tied"), tmp_path / "a/alone")
    assert plan_export(alone).dataset == dataset  # as the checkpoint recorded it
    marker = alone / "checkpoint.json"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "data": {"elsewhere": "0"}}))
    with pytest.raises(CheckpointError, match="give it with --dataset"):
        plan_export(alone)
    assert plan_export(alone, dataset).checkpoint == alone


def test_an_unknown_dtype_is_refused(runs):
    with pytest.raises(ConfigError, match="float32, bfloat16"):
        plan_export(runs / "tied", dtype="int8")


@pytest.mark.parametrize("with_tokenizer", [True, False])
def test_a_model_that_came_from_hugging_face_keeps_its_own_tokenizer_ids_and_class(runs, tmp_path, with_tokenizer):
    source = find_checkpoint(runs / "tied")
    ids = {"bos_token_id": 3, "eos_token_id": [1, 2], "pad_token_id": None}
    facts = {name: value for name, value in checkpoint_facts(source).items() if "sha256" not in name}
    facts |= {"hf": {"model_type": "mistral", "special_ids": ids}, "data": {}}
    folder = tmp_path / "imported/checkpoints/weights_00000000"
    write_weights_checkpoint(folder, read_model_weights(source).items(), facts)
    if with_tokenizer:
        (tmp_path / "imported/tokenizer").mkdir()
        (tmp_path / "imported/tokenizer/tokenizer.json").write_text("its own")
        (tmp_path / "imported/tokenizer/generation_config.json").write_text('{"temperature": 0.6}')
    export_run(tmp_path / "imported", tmp_path / "out", compare=False)
    config = json.loads((tmp_path / "out/config.json").read_text())
    assert (config["architectures"], config["eos_token_id"]) == (["MistralForCausalLM"], [1, 2])
    generation = json.loads((tmp_path / "out/generation_config.json").read_text())
    if with_tokenizer:
        assert (tmp_path / "out/tokenizer.json").read_text() == "its own" and generation == {"temperature": 0.6}
    else:
        assert not (tmp_path / "out/tokenizer.json").exists()
        assert generation == {"_from_model_config": True, "bos_token_id": 3, "eos_token_id": [1, 2]}
    assert "converted from Hugging Face" in (tmp_path / "out/README.md").read_text(encoding="utf-8")


def test_shards_have_an_index_that_transformers_follows(runs, exports, tmp_path):
    export = export_run(runs / "tied", tmp_path / "out", compare=False, max_shard_gigabytes=1e-4)
    assert len(export["files"]) > 3 and set(export["files"]) == {
        path.name for path in tmp_path.glob("out/*.safetensors")
    }
    ours, whole = (
        AutoModelForCausalLM.from_pretrained(one).state_dict() for one in (tmp_path / "out", exports["tied"][0])
    )
    assert ours.keys() == whole.keys() and all(torch.equal(ours[name], whole[name]) for name in ours)


def test_a_dataset_with_a_smaller_tokenizer_fits_a_model_that_says_its_own_size(run_copy, dataset, tmp_path):
    copy = copy_of_dataset(dataset, tmp_path)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["tokenizer"]["vocab_size"] = 499
    (copy / "manifest.json").write_text(json.dumps(manifest))
    marker = find_checkpoint(run_copy) / "checkpoint.json"
    facts = json.loads(marker.read_text())
    facts["model"]["vocab_size"] = 500
    marker.write_text(json.dumps(facts))
    assert plan_export(run_copy, copy).shape.vocab_size == 500
