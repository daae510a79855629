"""Fixtures of the report's tests."""

from pathlib import Path

import pytest
from made_run import Project, write_run


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A complete project with the run `demo`."""
    return write_run(tmp_path)
