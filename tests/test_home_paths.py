"""`~` is the user's own folder also where no shell replaces it."""

from megatron_recipe.config.data import DatasetWeight
from megatron_recipe.home_paths import with_home


def test_arguments(monkeypatch):
    monkeypatch.setenv("HOME", "/users/me")
    words = ["--set", "data.datasets=~/a,~/b", "--run-dir=~/runs", "--data", "en=~", "~/x", "a=~b", "text=a ~/b"]
    assert with_home(words) == [
        "--set", "data.datasets=/users/me/a,~/b", "--run-dir=/users/me/runs", "--data", "en=/users/me", "~/x", "a=~b",
        "text=a ~/b",
    ]  # fmt: skip


def test_datasets_of_a_file_or_a_list(monkeypatch):
    monkeypatch.setenv("HOME", "/users/me")
    assert [DatasetWeight(path=path).path for path in ("~/b", "b", "/b")] == ["/users/me/b", "b", "/b"]
