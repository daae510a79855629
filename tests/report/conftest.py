"""Fixtures of the report's tests."""

from pathlib import Path

import pytest
from made_run import Project, write_run


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A complete project with the run `demo`; the working folder is the project's."""
    monkeypatch.chdir(tmp_path)
    return write_run(tmp_path)
