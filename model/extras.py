"""How a missing extra is installed, in the words of every message that names one."""

from __future__ import annotations


def install(extra: str) -> str:
    """The command that brings an extra of pyproject.toml. By a path: PyPI's package `chimed` is another program."""
    return f"in a clone of chimed, `pip install '.[{extra}]'` (with pipx: `pipx install --force '.[{extra}]'`)"
