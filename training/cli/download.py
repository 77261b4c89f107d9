"""`chimed-train download`: its options."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_download(commands: Any) -> None:
    """Add the command to a parser's sub-commands (what `add_subparsers` gives)."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "download",
        help="get hours of real speech and music, out of free Debian packages",
        description="Downloads Debian packages with apt-get (nothing is installed), and writes what people say in them "
        "to DIR/speech/PACKAGE and music to DIR/music/PACKAGE: negatives and backgrounds of `word`, speech and noise "
        "of `fit` and `evaluate`. What is there already is kept; each folder holds its package's licence.",
        epilog="example:\n  chimed-train download -o sounds\n"
        '  chimed-train word "hey computer" --negatives sounds/speech/* --backgrounds sounds/music/*',
    )
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help="only these (default: the usual ones)")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="where the folders go")
    parser.add_argument("--list", action="store_true", help="say which packages there are, and what is in them")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Download, unpack and convert, or list. Raises TrainingError."""
    from training.corpora.download_debian import PACKAGES, chosen, fetch
    from training.utils.errors import TrainingError

    if arguments.list:
        for package in PACKAGES:
            mark = "" if package.usual else "; only if named"
            print(f"{package.name}: {package.what} ({package.kind}, {package.megabytes} MB{mark})")
        return
    if arguments.output is None:
        raise TrainingError("-o DIR is needed: where the folders go")
    packages = chosen(arguments.packages)
    size = sum(package.megabytes for package in packages)
    print(f"{len(packages)} packages, {size} MB to download")
    for number, package in enumerate(packages, 1):
        print(f"{number} of {len(packages)}, {package.name}: {package.what}", flush=True)
        print(f"  in {fetch(package, arguments.output)}")
