"""Comparison files and the runs that they stand for: equal tokens, own folders, everything checked before a start."""

import subprocess
import sys
from pathlib import Path

import pytest
from comparison_plans import file_of, plan_of

from megatron_recipe.errors import ConfigError, DataError, RecipeError
from megatron_recipe.lab.compare_command import write_plan
from megatron_recipe.lab.comparison import comparison_names, read_comparison
from megatron_recipe.lab.plan import Plan, check_plan, slug
from megatron_recipe.recipes import write_config


def trained_tokens(plan: Plan) -> set[int]:
    return {
        run.config.train.steps * run.config.batch.global_batch_size_samples * run.config.model.sequence_length_tokens
        for run in plan.runs
    }


def test_the_four_of_the_plan_are_ready() -> None:
    assert comparison_names() == ["batch_size", "data_mix", "learning_rate", "warm_up"]
    for name in comparison_names():
        comparison = read_comparison(name)
        assert all((words.en and words.zh) for words in (comparison.title, comparison.why, comparison.hypothesis))


def test_every_setting_runs_on_every_seed_round_after_round() -> None:
    plan = plan_of("learning_rate", dataset="data", seeds="7,8", tokens=81_920)
    assert [(run.label, run.seed) for run in plan.runs] == [
        (label, seed) for seed in (7, 8) for label in ("1e-4", "3e-4", "5e-4")
    ]
    assert [run.number for run in plan.runs] == list(range(6))
    assert {(run.config.train.seed, run.config.data.seed) for run in plan.runs} == {(7, 7), (8, 8)}
    assert plan.changed == ["schedule.min_learning_rate", "schedule.peak_learning_rate"]
    assert plan.runs[0].folder == Path("out/runs/1e-4-seed7")
    assert {run.config.data.datasets[0].path for run in plan.runs} == {"data"}


def test_batches_keep_their_ratio_and_all_settings_train_on_the_same_tokens() -> None:
    plan = plan_of("batch_size", tokens=500_000)
    batches = [run.config.batch.global_batch_size_samples for run in plan.runs[:3]]
    assert [batch / batches[0] for batch in batches] == [1, 4, 8]
    assert [run.label for run in plan.runs[:3]] == ["2 = 64÷32", "8 = 256÷32", "16 = 512÷32"]
    assert plan.runs[2].config.train.steps >= 64
    assert trained_tokens(plan) == {plan.comparison.tokens_per_run} == {499_712}
    assert plan.changed == ["batch.global_batch_size_samples"]


def test_a_full_run_keeps_its_batches() -> None:
    plan = plan_of("batch_size", tokens=20e9, recipe="gpt_1b")
    assert [run.label for run in plan.runs[:3]] == ["64", "256", "512"]


def test_other_sample_lengths_train_and_are_measured_on_the_same_tokens(tmp_path: Path) -> None:
    plan = plan_of(file_of(tmp_path, grid={"model.sequence_length_tokens": [64, 256]}, tokens_per_run=100_000))
    assert trained_tokens(plan) == {98_304}
    assert {run.config.train.validation_samples * run.config.model.sequence_length_tokens for run in plan.runs} == {
        128 * 256
    }


def test_steps_of_warm_up_are_a_share_of_the_full_run() -> None:
    shares = [run.config.schedule.warmup_fraction for run in plan_of("warm_up").runs[:3]]
    assert shares == [0, pytest.approx(1000 / 19_000), pytest.approx(5000 / 19_000)]


def test_sources_are_settings_and_what_all_are_measured_on() -> None:
    plan = plan_of("data_mix", data=("a=x", "b=y"))
    assert [(run.label, [one.path for one in run.config.data.datasets]) for run in plan.runs[:2]] == [
        ("a", ["x"]),
        ("b", ["y"]),
    ]
    assert plan.held_out == ["validation/a", "validation/b"]
    assert [(one.name, one.path) for one in plan.runs[0].config.data.validation_sets] == [("a", "x"), ("b", "y")]
    mixed = plan_of("data_mix", data=("a=x", "b=y"), mixes=("a:3,b:1", "b"))
    assert [(one.path, one.weight) for one in mixed.runs[0].config.data.datasets] == [("x", 3), ("y", 1)]


def test_settings_with_one_mix_are_measured_on_its_own_text() -> None:
    assert plan_of("learning_rate").held_out == ["validation"]


def test_a_grid_makes_every_combination(tmp_path: Path) -> None:
    grid = {"model.num_layers": [2, 4], "optimizer.weight_decay": [0.0, 0.1, 0.2]}
    plan = plan_of(file_of(tmp_path, grid=grid, seeds=[1]))
    assert len(plan.runs) == 6
    assert plan.runs[-1].label == "num_layers=4 weight_decay=0.2"
    assert (plan.runs[-1].config.model.num_layers, plan.runs[-1].config.optimizer.weight_decay) == (4, 0.2)


def test_plan_yaml_repeats_the_comparison(tmp_path: Path) -> None:
    plan = plan_of("batch_size", tmp_path, tokens=500_000, seeds="5,6", overrides=("model.num_layers=2",))
    write_plan(plan)
    again = plan_of(tmp_path / "plan.yaml", tmp_path)
    assert again.runs == plan.runs
    assert again.comparison.name == "batch_size"


def test_settings_may_have_seeds_of_their_own(tmp_path: Path) -> None:
    settings = [{"label": "a", "seeds": [1, 2]}, {"label": "b", "seeds": [3, 4, 5]}]
    plan = plan_of(file_of(tmp_path, settings=settings))
    assert [(run.label, run.seed) for run in plan.runs] == [("a", 1), ("b", 3), ("a", 2), ("b", 4), ("b", 5)]
    assert plan.changed == []


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("learning_rat", {}, "unknown comparison"),
        ("learning_rate", {"overrides": ("train.steps=5",)}, "use --tokens"),
        ("learning_rate", {"overrides": ("data.seed=5",)}, "use --seeds"),
        ("learning_rate", {"overrides": ("budget.at_end=terminate",)}, "use launch run for a machine"),
        ("learning_rate", {"overrides": ("schedule.min_learning_rte=0",)}, "setting '1e-4'.*did you mean"),
        ("learning_rate", {"seeds": "1,x"}, "whole numbers"),
        ("learning_rate", {"seeds": "1,1"}, "seed stands twice"),
        ("learning_rate", {"tokens": 100}, "use --tokens 4096 or more"),
        ("learning_rate", {"confidence": 95.0}, "confidence"),
        ("learning_rate", {"data": ("a=x",)}, "use --dataset"),
        ("learning_rate", {"mixes": ("a",)}, "compares no mixes"),
        ("batch_size", {"tokens": 1000}, "use --tokens 131072 or more"),
        ("data_mix", {"data": ("a=x",)}, "two or more"),
        ("data_mix", {"data": ("a=x", "b=y"), "mixes": ("c:1",)}, "name one of these, or add --data c=FOLDER"),
        ("data_mix", {"data": ("a=x", "b=y"), "mixes": ("a:-1",)}, "shares above 0"),
        ("data_mix", {"data": ("x",)}, "NAME=FOLDER"),
        ("data_mix", {"dataset": "x"}, "give each as --data"),
    ],
)
def test_a_mistake_names_field_rule_and_remedy(name: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_of(name, **options)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "one of settings, grid and mixes"),
        ({"grid": {"model.num_layers": [2, 4]}, "mixes": "each_alone"}, "one of settings, grid and mixes"),
        ({"settings": [{"label": "a"}]}, "needs two"),
        ({"settings": [{"label": "a"}, {"label": "a"}]}, "two settings have the label 'a'"),
        ({"settings": [{"label": "a b"}, {"label": "a/b"}]}, "give one another label"),
        ({"settings": [{"label": "a"}, {"label": "b", "overrides": {"train.seed": 3}}]}, "setting 'b': train.seed"),
        ({"grid": {"model.num_layers": ["2 steps", "4 steps"]}}, "setting '2 steps'.*fraction of the run"),
        ({"grid": {"schedule.warmup_fraction": ["9 steps", "450 steps"]}}, "no less than the whole run"),
        ({"settings": [{"label": "a"}, {"label": "b"}], "sedes": [1]}, "did you mean 'seeds'"),
    ],
)
def test_a_file_s_mistake_is_answered(tmp_path: Path, values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan_of(file_of(tmp_path, **values))


def test_settings_without_common_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.validation_sets in common"):
        plan_of(file_of(tmp_path, grid={"data.datasets": ["x", "y"]}))


def test_every_run_is_checked_before_one_starts(dataset: Path, tmp_path: Path) -> None:
    file = file_of(tmp_path, grid={"model.num_kv_groups": [2, 3]})
    with pytest.raises(ConfigError, match=r"setting '3': model.num_kv_groups=3 must divide model.num_heads=4"):
        check_plan(plan_of(file, tmp_path, dataset=str(dataset)), None)
    with pytest.raises(RecipeError, match=r"setting '1e-4': .*nowhere"):
        check_plan(plan_of("learning_rate", tmp_path, dataset="nowhere"), None)


def test_a_folder_with_another_run_is_left_alone(dataset: Path, tmp_path: Path) -> None:
    def plan(*overrides: str) -> Plan:
        short = ("model.sequence_length_tokens=64", *overrides)
        return plan_of("learning_rate", tmp_path, dataset=str(dataset), tokens=8192, overrides=short)

    run = plan().runs[1]
    write_config(run.config, run.folder / "config.yaml")
    check_plan(plan(), None)  # the same run
    check_plan(plan("logging.tensorboard=true"), None)  # what is logged is no part of what is compared
    with pytest.raises(ConfigError, match=r"setting '3e-4'.*model.num_layers=4 there, 2 now; name another --out"):
        check_plan(plan("model.num_layers=2"), None)


def test_labels_of_any_script_are_folders() -> None:
    assert [slug(label) for label in ("2 = 64÷32", "小说 : 新闻", "a/b", "..", "3e-4")] == [
        "2_64_32",
        "小说_新闻",
        "a_b",
        "..",
        "3e-4",
    ]


def test_a_comparison_is_planned_and_judged_without_torch() -> None:
    code = (
        "import sys, megatron_recipe.lab.compare_command, megatron_recipe.lab.tables, megatron_recipe.lab.slurm;"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "megatron", "numpy", "matplotlib"} & set(done.stdout.split()) == set()
