"""`chimed completion`: prints what lets a shell complete `chimed`'s commands and options, from the parser itself."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from model.cli_help import actions

FILES = {"FILE", "PNG", "WAV"}  # the metavars of those files that are strings, since "-" or any format may stand there


def command(args: argparse.Namespace) -> int:
    """Print the script."""
    from daemon.cli.main import parser

    sys.stdout.write(script(parser(), args.shell) + "\n")
    return 0


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script for a shell: bash, zsh or fish. What takes a file is completed with files."""
    import shtab

    for action in actions(parser):
        if action.type is Path or action.metavar in FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined] # how shtab wants it
    return shtab.complete(parser, shell)
