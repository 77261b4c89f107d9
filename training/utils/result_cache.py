"""Results of the steps of a long command in, the same out when the command is run again; a JSON file on disk.

A step counts as done when its result is written, so that an interrupted command loses one step at most. The file's name
holds a digest of all that decides the results: with other settings, nothing is known.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from training.utils.atomic_write import atomic_write


class ResultCache:
    """folder: where the file lies; title: the beginning of its name; subject: what decides the results."""

    def __init__(self, folder: Path, title: str, subject: Iterable[bytes]) -> None:
        digest = hashlib.sha256()
        for part in subject:
            digest.update(len(part).to_bytes(8, "little") + part)
        self.path = folder / f"{title}-{digest.hexdigest()[:16]}.json"
        self._known: dict[str, Any] = {}
        try:
            known = json.loads(self.path.read_text())
        except (OSError, ValueError):  # nothing there, or not to be used: the step is done again
            known = None
        if isinstance(known, dict):
            self._known = known

    def get(self, step: str) -> Any:
        """The result of a step, None if it was not done."""
        return self._known.get(step)

    def keep(self, step: str, result: Any) -> None:
        """Write a result, as JSON holds it."""
        self._known[step] = result
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.path) as partial:
            partial.write_text(json.dumps(self._known) + "\n")
