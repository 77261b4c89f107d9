"""`chimed-train import`: the assignment's own weights as a model file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_import(commands: Any) -> None:
    """Add the command to a parser's sub-commands (what `add_subparsers` gives)."""
    legacy = commands.add_parser(
        "import",
        help="turn the assignment's model.json and model.h5 into a model file",
        epilog="example:\n  chimed-train import model.json model.h5 -o assignment.npz",
    )
    legacy.add_argument("architecture", type=Path, metavar="JSON", help="model.json: the layers")
    legacy.add_argument("weights", type=Path, metavar="H5", help="model.h5: their weights")
    legacy.add_argument("-o", "--output", type=Path, required=True, metavar="NPZ", help="the model file to write")
    legacy.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Read, check, and write the model file. Raises TrainingError."""
    from model.modelfile import save
    from training.learning.import_assignment import import_assignment

    save(arguments.output, import_assignment(arguments.architecture, arguments.weights))
