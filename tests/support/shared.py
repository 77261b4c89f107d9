"""Where the assignment's files and recordings lie, which the repository may not carry; tests skip without them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.paths import ROOT


def data() -> Path:
    """The folder with the recordings to train on: ``$CHIMED_SHARED/data``, or ``../shared/data``."""
    shared = Path(os.environ.get("CHIMED_SHARED") or ROOT.parent / "shared")
    if not (shared / "data").is_dir():
        pytest.skip("the recordings are not here; CHIMED_SHARED names the folder that holds data/")
    return shared / "data"


def seed() -> Path:
    """The folder with the assignment's weights and clips: ``$CHIMED_SHARED/seed``, or ``../shared/seed``."""
    shared = Path(os.environ.get("CHIMED_SHARED") or ROOT.parent / "shared")
    if not (shared / "seed").is_dir():
        pytest.skip("the assignment's files are not here; CHIMED_SHARED names the folder that holds seed/")
    return shared / "seed"
