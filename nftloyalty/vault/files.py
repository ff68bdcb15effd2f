"""What all that keep keys in files need."""

import contextlib
import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """A new file's name is on disk only once its folder is. Where folders can't be opened, there is nothing to do."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
