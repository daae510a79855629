"""One folder at the end of the month for all tests that only read it."""

from pathlib import Path

import pytest
from made_month import write_month


@pytest.fixture(scope="session")
def month_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_month(tmp_path_factory.mktemp("month"))
