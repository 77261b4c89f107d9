"""Where things lie in the repository."""

from __future__ import annotations

import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"  # small files that tests need, each made by a module of `tests.make`


def let_others_enter(folder: Path) -> None:
    """Let other users enter a test's folder, which lies two or three levels below the one for temporary files."""
    top = Path(tempfile.gettempdir()).resolve()
    for path in (folder, *folder.parents):
        if path.resolve() == top or path.parent == path:
            return
        path.chmod(0o755)
