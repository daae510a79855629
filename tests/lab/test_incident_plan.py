"""The runs of an incident: what they share, what they differ in, and which are one."""

from pathlib import Path

import pytest
from incident_folders import made_case

from megatron_recipe.config import Config
from megatron_recipe.errors import ConfigError
from megatron_recipe.lab import incident_runs
from megatron_recipe.lab.incident import read_incident
from megatron_recipe.lab.incident_command import Options, cases_of, incident_command
from megatron_recipe.lab.incident_plan import ROLES, control_name, unique, with_values
from megatron_recipe.lab.incident_process import note_changes
from megatron_recipe.lab.incident_runs import check_acts, do_acts
from megatron_recipe.lab.machine import Machine
from megatron_recipe.lab.plan import flat
from megatron_recipe.recipes import load_config

CPU = Machine([], None, 2, 1)


def test_equal_seeds_tokens_and_text(dataset: Path, tmp_path: Path) -> None:
    case = made_case("batch-size-1", dataset, tmp_path, seed=7)
    configs = [case.acts[role].config for role in ROLES]
    assert {(config.train.seed, config.data.seed) for config in configs} == {(7, 7)}
    assert len({str(config.data) for config in configs}) == 1
    tokens = {
        one.train.steps * one.batch.global_batch_size_samples * one.model.sequence_length_tokens for one in configs
    }
    assert tokens == {200 * 8 * 64}
    assert [one.train.steps for one in configs] == [200, 1600, 200]
    assert {one.train.steps // one.train.log_every_steps for one in configs} == {50}
    assert {one.stability.on_nan for one in configs} == {"log"}


def test_what_differs_is_the_change(dataset: Path, tmp_path: Path) -> None:
    case = made_case("lr-x10", dataset, tmp_path)
    control, incident = (flat(case.acts[role].config) for role in ("control", "incident"))
    differing = {name: (control[name], incident[name]) for name in control if control[name] != incident[name]}
    assert differing == {
        "schedule.peak_learning_rate": (4e-3, pytest.approx(4e-2)),
        "schedule.min_learning_rate": (4e-4, pytest.approx(4e-3)),
    }


def test_a_remedy_that_takes_the_mistake_back_is_the_control(dataset: Path, tmp_path: Path) -> None:
    case = made_case("sgd-instead-of-adamw", dataset, tmp_path)
    assert case.acts["remedy"].folder == case.acts["control"].folder
    assert [act.role for act in unique([case])] == ["control", "incident"]


def test_incidents_share_a_control_where_all_runs_are_alike(dataset: Path, tmp_path: Path) -> None:
    deep = read_incident("no-warm-up").model_copy(update={"name": "deep", "every_run": {"model.num_layers": 6}})
    cases = [made_case(one, dataset, tmp_path) for one in ("lr-x10", "no-warm-up", deep)]
    controls = [case.acts["control"].folder.name for case in cases]
    assert controls == ["control", "control", control_name(deep)] and control_name(deep) != "control"
    acts = unique(cases)
    assert [act.role for act in acts] == ["control", "control", *["incident", "remedy"] * 3]
    assert len({act.folder for act in acts}) == len(acts)


def test_the_tokens_asked_for_go_down_to_whole_steps(dataset: Path, tmp_path: Path) -> None:
    case = made_case("lr-x10", dataset, tmp_path, tokens=10_000)
    assert case.comparison.tokens_per_run == 9_728 == 19 * 8 * 64


def test_a_folder_with_other_runs_is_refused(dataset: Path, tmp_path: Path) -> None:
    case = made_case("lr-x10", dataset, tmp_path)
    acts = unique([case])
    check_acts(acts, CPU)
    note_changes(acts[1])
    check_acts(acts, CPU)
    with pytest.raises(ConfigError, match=r"train.seed=1 there, 2 now.*name another --out"):
        check_acts(unique([made_case("lr-x10", dataset, tmp_path, seed=2)]), CPU)
    (acts[1].folder / "changes.json").rename(acts[1].folder / "config.yaml")
    with pytest.raises(ConfigError, match="holds a run of something else"):
        check_acts(acts, CPU)


def test_where_things_are_written(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder, (case,) = cases_of(Options(("lr-x10",), data=str(dataset)), "cpu")
    assert (str(folder), str(case.acts["control"].folder)) == ("incidents/lr-x10", "incidents/controls/control")
    folder, (case,) = cases_of(Options(("lr-x10",), data=str(dataset), out=Path("mine")), "cpu")
    assert (str(folder), str(case.acts["control"].folder)) == ("mine", "mine/control")
    folder, cases = cases_of(Options(data=str(dataset), out=Path("lab")), "cpu")
    assert str(folder) == "lab" and {str(case.folder.parent) for case in cases} == {"lab"}


def test_a_dry_run_says_what_would_be_done(dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = Options(("lr-x10",), data=str(dataset), out=tmp_path / "out", gpus=0, lang="zh", dry_run=True)
    assert incident_command(options) == 0
    said = capsys.readouterr().err
    assert "学习率放大 10 倍" in said and "204,800" in said and "估计" in said
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lang": "fr"}, "--lang=fr"),
        ({"data": "/nowhere"}, "not a dataset"),
        ({"overrides": ("model.bla=1",)}, "model.bla is not known"),
        ({"overrides": ("train.steps=5",)}, "use --tokens"),
        ({"overrides": ("nothing",)}, "section.field=value"),
        ({"overrides": ("train.seed=5",)}, "use --seed 5"),
    ],
)
def test_wrong_input_is_one_message(dataset: Path, tmp_path: Path, options: dict[str, object], said: str) -> None:
    given = {"data": str(dataset), "out": tmp_path / "out", "gpus": 0, **options}
    with pytest.raises(Exception, match=said) as found:
        incident_command(Options(("lr-x10",), **given))  # type: ignore[arg-type]
    assert type(found.value).__name__ in ("ConfigError", "DataError")
    assert not (tmp_path / "out").exists()


def test_values_of_the_files_that_a_change_made() -> None:
    config = with_values(load_config("gpt_tiny_cpu"), {"data.datasets": [{"path": "copy"}], "train.init_from": "run"})
    assert (config.data.datasets[0].path, config.train.init_from) == ("copy", "run")


def test_an_incident_whose_control_failed_is_not_run(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = made_case("lr-x10", dataset, tmp_path)
    begun = []

    class Failing:
        def poll(self) -> int:
            return 1

        def send_signal(self, sig: int) -> None:
            raise AssertionError(sig)

    def start(config: Config, folder: Path, slot: int) -> Failing:
        begun.append(folder.name)
        return Failing()

    monkeypatch.setattr(incident_runs, "starter", lambda machine, acts: start)
    assert do_acts(unique([case]), CPU, lambda *how: None, lambda running: None) is None
    assert begun == ["control"]
