"""What teaches a shell the commands and options of `chimed-train`: parser in, script out."""

from __future__ import annotations

import argparse
from pathlib import Path

from model.cli_help import actions

FOLDERS = {"DIR", "CLIPS_DIR", "RAW_DATA"}


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for a shell: bash, zsh or fish. What takes a file or folder is completed with those."""
    import shtab

    for action in actions(parser):
        if action.metavar in FOLDERS:
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined] # how shtab wants it
        elif action.type is Path or action.metavar == "NPZ":
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    return shtab.complete(parser, shell)
