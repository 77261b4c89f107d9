"""A path in, a file there out, whole or not at all: after an interruption there is what was there before."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Where to write meanwhile, beside the file; it takes the file's place at the end, and is removed on an error."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")  # two processes may write the same file
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
