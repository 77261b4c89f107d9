"""What teaches a shell the commands and options of `chimed-train`: parser in, script out."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

FOLDERS = {"DIR", "CLIPS_DIR", "RAW_DATA"}


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for a shell: bash, zsh or fish. What takes a file or folder is completed with those."""
    import shtab

    for action in _actions(parser):
        if action.metavar in FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined] # how shtab wants it
        elif action.type is Path or action.metavar == "NPZ":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    return shtab.complete(parser, shell)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every option and argument, those of the commands too."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _actions(below)
