"""What `convert from-hf` writes, and what it refuses; nothing is left where it fails."""

import json
import os
import shutil
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from commands import ENVIRONMENT
from hf_models import Case, build, exported, save
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from checkpoints_tools import from_hf
from checkpoints_tools.cli import app
from checkpoints_tools.from_hf import CHECKPOINT, import_hf, plan_import
from checkpoints_tools.megatron_checkpoint import checkpoint_facts, find_checkpoint
from megatron_recipe.checkpoint_integrity import damage, marker_is_whole
from megatron_recipe.errors import CheckpointError, ConfigError
from megatron_recipe.recipes import load_config

CASE = Case("qwen2", False, 2, 101)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in several files, with a tokenizer's files."""
    folder = save(build(CASE), tmp_path_factory.mktemp("hf") / "model", max_shard_size="60KB")
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    (folder / "merges.txt").write_text("a b\n")
    (folder / "notes.md").write_text("not needed")
    assert len(list(folder.glob("*.safetensors"))) > 2
    return folder


@pytest.fixture
def hf(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(whole, tmp_path / "model"))


def change_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_weight(folder: Path, name: str, change: Callable[[torch.Tensor], torch.Tensor | None]) -> None:
    """Replace one weight in its file; None takes it away."""
    file = folder / json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"][name]
    weights = load_file(file)
    changed = change(weights.pop(name))
    save_file({**weights, **({} if changed is None else {name: changed})}, file, metadata={"format": "pt"})


def test_a_folder_to_begin_with(hf, tmp_path):
    out = tmp_path / "imports/mine"
    import_hf(plan_import(hf), out, compare=False)
    checkpoint = find_checkpoint(out)
    assert checkpoint == out / CHECKPOINT and damage(checkpoint) is None and marker_is_whole(checkpoint)
    facts = checkpoint_facts(checkpoint)
    assert (facts["step"], facts["vocab_size"], facts["hf"]["model_type"]) == (0, 101, "qwen2")
    assert sorted(path.name for path in (out / "tokenizer").iterdir()) == [
        "generation_config.json",
        "merges.txt",
        "tokenizer.json",
    ]
    shards = {name: weight for file in hf.glob("*.safetensors") for name, weight in load_file(file).items()}
    back = exported(checkpoint)
    assert back.keys() == shards.keys() and all(torch.equal(back[name], shards[name]) for name in shards)
    assert sorted(path.name for path in out.parent.iterdir()) == ["mine"]


def test_the_recipe_is_of_this_model(hf, tmp_path):
    out = tmp_path / "mine"
    import_hf(plan_import(hf), out, compare=False)
    config = load_config(str(out / "recipe.yaml"))
    assert config.model.model_dump(mode="json") == checkpoint_facts(out / CHECKPOINT)["model"]
    assert config.train.init_from == str(out) and config.model.vocab_size == 101
    assert yaml.safe_load((out / "recipe.yaml").read_text())["model"]["norm_epsilon"] == 1e-6


def test_a_long_model_is_trained_on_shorter_samples(hf, tmp_path):
    change_config(hf, max_position_embeddings=131072)
    import_hf(plan_import(hf), tmp_path / "mine", compare=False)
    assert load_config(str(tmp_path / "mine/recipe.yaml")).model.sequence_length_tokens == 4096
    assert checkpoint_facts(tmp_path / "mine" / CHECKPOINT)["model"]["sequence_length_tokens"] == 131072


def test_weights_can_be_rounded_and_are_else_as_they_were(hf, tmp_path):
    import_hf(plan_import(hf, "bfloat16"), tmp_path / "rounded")
    weights, kept = exported(tmp_path / "rounded" / CHECKPOINT), load_file(next(hf.glob("*.safetensors")))
    assert all(torch.equal(weights[name], kept[name].bfloat16()) for name in kept)


def test_types_that_differ_need_a_choice(hf):
    change_weight(hf, "model.norm.weight", torch.Tensor.bfloat16)
    with pytest.raises(CheckpointError, match=r"\(torch.bfloat16, torch.float32\); choose one with --dtype"):
        plan_import(hf)
    assert plan_import(hf, "float32").dtype is torch.float32


def test_a_tied_model_may_hold_its_embedding_twice_but_no_other_one(tmp_path):
    folder = save(build(Case("llama", True, 2, 128)), tmp_path / "tied")
    weights = load_file(folder / "model.safetensors")
    embedding = weights["model.embed_tokens.weight"]
    inverse_frequencies = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}  # of transformers 4
    for head, out in ((embedding.clone(), "same"), (embedding + 1, "other")):
        save_file({**weights, **inverse_frequencies, "lm_head.weight": head}, folder / "model.safetensors")
        if out == "same":
            import_hf(plan_import(folder), tmp_path / out, compare=False)
            assert exported(tmp_path / out / CHECKPOINT).keys() == weights.keys()
        else:
            with pytest.raises(CheckpointError, match=r"says tie_word_embeddings, but lm_head\.weight is not"):
                import_hf(plan_import(folder), tmp_path / out, compare=False)
    assert not (tmp_path / "other").exists()


def filled(weight: torch.Tensor, row: int, value: float) -> torch.Tensor:
    return weight.index_fill(0, torch.tensor([row]), value)


def cut_off(folder: Path) -> None:
    file = next(folder.glob("*-00002-of-*.safetensors"))
    file.write_bytes(file.read_bytes()[:-100])


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda hf: (hf / "config.json").unlink(), "config.json.*download the whole model"),
    "config is no JSON": (lambda hf: (hf / "config.json").write_text("{"), "config.json"),
    "config is a list": (lambda hf: (hf / "config.json").write_text("[]"), "no mapping"),
    "a mixture of experts": (lambda hf: change_config(hf, model_type="qwen2_moe"), "model_type=qwen2_moe"),
    "another class": (lambda hf: change_config(hf, model_type="llama"), "architectures="),
    "a file is missing": (lambda hf: next(hf.glob("*-00002-of-*")).unlink(), r"00002-of-.*is missing"),
    "a file is cut off": (cut_off, r"00002-of-.*cut off"),
    "a file is empty": (lambda hf: next(hf.glob("*-00002-of-*")).write_bytes(b""), "not a whole safetensors file"),
    "the index is damaged": (lambda hf: (hf / "model.safetensors.index.json").write_text("["), "index.json: damaged"),
    "a weight is missing": (
        lambda hf: change_weight(hf, "model.layers.1.mlp.up_proj.weight", lambda weight: None),
        "lacks model.layers.1.mlp.up_proj.weight",
    ),
    "a bias is missing": (
        lambda hf: change_weight(hf, "model.layers.0.self_attn.k_proj.bias", lambda weight: None),
        "lacks model.layers.0.self_attn.k_proj.bias",
    ),
    "a weight too much": (lambda hf: change_config(hf, num_hidden_layers=1), "does not speak of: model.layers.1"),
    "another shape": (
        lambda hf: change_weight(hf, "model.layers.1.mlp.up_proj.weight", lambda weight: weight[:-1].clone()),
        r"up_proj.weight has shape \[79, 48\], but config.json makes it \[80, 48\]",
    ),
    "another vocabulary": (lambda hf: change_config(hf, vocab_size=102), r"\[101, 48\].*\[102, 48\]"),
    "another type": (
        lambda hf: change_weight(hf, "model.norm.weight", lambda weight: weight.to(torch.int8)),
        "type 'I8' is not known",
    ),
    "not a number": (
        lambda hf: change_weight(hf, "model.layers.1.mlp.up_proj.weight", lambda weight: filled(weight, 3, torch.nan)),
        "up_proj.weight holds 48 values that are NaN or infinite",
    ),
    "infinite": (
        lambda hf: change_weight(hf, "model.embed_tokens.weight", lambda weight: filled(weight, 100, torch.inf)),
        "embed_tokens.weight holds 48 values",
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_what_is_damaged_is_refused_with_the_reason_and_leaves_nothing(hf, tmp_path, kind):
    do, words = DAMAGE[kind]
    do(hf)
    with pytest.raises(CheckpointError, match=words):
        import_hf(plan_import(hf), tmp_path / "out", compare=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_pickles_are_not_read(hf):
    for file in hf.glob("*.safetensors*"):
        file.unlink()
    (hf / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"pickles \(\*\.bin\)"):
        plan_import(hf)


def test_large_sums_of_finite_values_are_no_damage(hf):
    change_weight(hf, "model.norm.weight", lambda weight: torch.full_like(weight, 3e38))
    assert from_hf.read_finite(plan_import(hf), "model.norm.weight").isfinite().all()


def test_only_what_came_from_hugging_face_is_replaced(hf, tmp_path):
    plan, out = plan_import(hf), tmp_path / "out"
    out.mkdir()
    import_hf(plan, out, compare=False)  # an empty folder is no loss
    (out / "left over").touch()
    import_hf(plan, out, compare=False)
    assert not (out / "left over").exists()
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis/thesis.tex").touch()
    with pytest.raises(ConfigError, match="no model that from-hf wrote"):
        import_hf(plan, tmp_path / "thesis", compare=False)
    assert (tmp_path / "thesis/thesis.tex").exists()


def test_a_kill_leaves_nothing_under_the_name(hf, tmp_path):
    """Killed while weights are written: the folder is not there, and the next import begins anew."""
    code = (
        "import sys, time; from pathlib import Path; from checkpoints_tools import from_hf\n"
        "read = from_hf.read_finite\n"
        "def slow(plan, name):\n"
        "    if 'layers.1' in name: print('half', flush=True); time.sleep(60)\n"
        "    return read(plan, name)\n"
        "from_hf.read_finite = slow\n"
        "from_hf.import_hf(from_hf.plan_import(Path(sys.argv[1])), Path(sys.argv[2]), compare=False)\n"
    )
    out = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, hf, out], env=ENVIRONMENT, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout and process.stdout.readline() == b"half\n"
        os.kill(process.pid, signal.SIGKILL)
    assert not out.exists() and not list(tmp_path.rglob("checkpoint.json"))
    import_hf(plan_import(hf), out, compare=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "out"]


def test_the_command_proves_what_it_writes(hf, tmp_path):
    runner = CliRunner()
    dry = runner.invoke(app, ["from-hf", str(hf), str(tmp_path / "out"), "--dry-run"])
    assert dry.exit_code == 0 and "Qwen2ForCausalLM" in dry.stderr and "101 (128 with padding)" in dry.stderr
    assert not (tmp_path / "out").exists()
    done = runner.invoke(app, ["from-hf", str(hf), str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "logits equal to transformers' on 4,096 tokens" in done.stderr


def test_other_logits_leave_nothing(hf, tmp_path, monkeypatch):
    verdict = {
        "passed": False,
        "first_differing_layer": "layer 0",
        "max_abs_difference": 0.5,
        "allowed_difference": 1e-4,
        "config_differences": ["rope_theta=1.0 in config.json, 2.0 in the checkpoint"],
    }
    monkeypatch.setattr(from_hf, "compare_logits", lambda *_: verdict)
    with pytest.raises(
        CheckpointError, match=r"other logits .* from layer 0 on: .* 0\.5 \(allowed 0\.0001\); rope_theta"
    ):
        import_hf(plan_import(hf), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]


def test_no_more_than_a_few_weights_are_in_memory(tmp_path):
    """Of 24 layers; what is alive at once, counted in tensors."""
    folder = save(build(Case("llama", True, 1, 101), num_hidden_layers=24), tmp_path / "deep")
    plan = plan_import(folder)
    alive: list[int] = []
    kept: weakref.WeakSet[torch.Tensor] = weakref.WeakSet()
    for _, weight in from_hf.megatron_weights(plan):
        kept.add(weight)
        alive.append(len(kept))
    assert len(alive) == 2 + 24 * 6 and max(alive) <= 2
