"""Named steps in, each done once out: a command that was interrupted, or killed, goes on where it stood.

Each step has a folder of its own below the work folder, and a mark beside it that says what it was done with. A
step whose mark does not fit, because it or one before it was ordered otherwise, is done anew in an empty folder.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from training.utils.atomic_write import atomic_write
from training.utils.errors import TrainingError
from training.utils.find_files import find_files

Result = dict[str, Any]


def stamp(paths: Iterable[Path]) -> str:
    """What changes when a file in these folders, or one of these files, does."""
    lines = []
    for path in paths:
        for file in [path] if path.is_file() else find_files(path):
            status = file.stat()
            lines.append(f"{file} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


class ResumableSteps:
    """The steps of one command, in a folder. names: all of them, in their order."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder = folder
        self._names = list(names)
        self._chain = ""
        (folder / "steps").mkdir(parents=True, exist_ok=True)

    def run(self, name: str, settings: Mapping[str, Any], action: Callable[[Path], Result]) -> Result:
        """Do a step, unless it is done; returns its result, which JSON must be able to hold.

        settings: whatever the result depends on, other than the steps before. action: takes the step's folder, in
        which it may find what an earlier run of the same step left.
        Raises TrainingError where that folder holds something that no run of the step made.
        """
        described = json.loads(json.dumps(settings))
        text = json.dumps([self._chain, name, described], sort_keys=True)
        self._chain = hashlib.sha256(text.encode()).hexdigest()[:16]
        mark, folder = self._folder / "steps" / f"{name}.json", self._folder / name
        known = _read(mark)
        if not mark.exists() and folder.exists() and any(folder.iterdir()):
            raise TrainingError(
                f"{folder}: this was not made here, and would be replaced; move it, or name another --work"
            )
        if known.get("key") != self._chain:
            if known:
                tqdm.write(f"{name}: ordered otherwise than before, so it begins anew")
            shutil.rmtree(folder, ignore_errors=True)
            known = {}
        if known.get("done"):
            return dict(known["result"])
        folder.mkdir(parents=True, exist_ok=True)
        content = {"key": self._chain, "with": described, "done": False}
        _write(mark, content)
        number = self._names.index(name) + 1
        tqdm.write(f"step {number} of {len(self._names)}, {name}")
        began = time.monotonic()
        result = action(folder)
        seconds = round(time.monotonic() - began, 1)
        _write(mark, content | {"done": True, "seconds": seconds, "result": result})
        return dict(json.loads(json.dumps(result)))


def _read(mark: Path) -> Result:
    try:
        content = json.loads(mark.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # never begun, or cut short while it was written
    return content if isinstance(content, dict) else {}


def _write(mark: Path, content: Result) -> None:
    with atomic_write(mark) as partial:
        partial.write_text(json.dumps(content, indent=1), encoding="utf-8")
