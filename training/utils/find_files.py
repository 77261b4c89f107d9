"""A folder in, all files below it out, links to other folders included: people put a collection together of those."""

from __future__ import annotations

import os
from pathlib import Path

from training.utils.errors import TrainingError


def find_files(folder: Path) -> list[Path]:
    """Every file below the folder, sorted. A folder that lies within itself, by a link, is seen once.

    Raises TrainingError for a folder that is not there or may not be read.
    """
    if not folder.is_dir():
        raise TrainingError(f"{folder}: no such folder")
    found: list[Path] = []
    _collect(folder, (), found)
    return sorted(found)


def _collect(folder: Path, around: tuple[str, ...], found: list[Path]) -> None:
    inside = (*around, os.path.realpath(folder))
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise TrainingError(f"{folder}: {error.strerror}") from error
    for entry in entries:
        path = folder / entry.name
        if entry.is_dir():
            if os.path.realpath(path) not in inside:
                _collect(path, inside, found)
        elif entry.is_file():
            found.append(path)
