"""Saves numpy arrays so that a full disk keeps its error number, which `np.save` loses."""

from pathlib import Path

import numpy as np


def save_array(path: Path, array: np.ndarray) -> None:
    """Write `array` as a ``.npy`` file, which np.load reads and maps.

    Raises:
        OSError: with its error number, ENOSPC for a full disk.
    """
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.tobytes(order="A"))
