"""`chimed-train export`: its options, and what it prints."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any


def add_export(commands: Any) -> None:
    """Add the command to a parser's sub-commands (what `add_subparsers` gives)."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "export",
        help="write the model file that a training has reached",
        description="Takes the checkpoint in a training's folder, of one that is over, was interrupted, or still runs, "
        "and writes its model file; not if the daemon's engine and Keras disagree about its posteriors.",
        epilog="examples:\n  chimed-train export work/run -o so_far.npz\n"
        "  chimed-train export work/hey_computer/fit -o so_far.npz",
    )
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="where `fit` or `word` keeps its checkpoint")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="NPZ", help="the model file to write")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Write the model file, and say what it holds. Raises TrainingError."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from training.learning.checkpoint import read
    from training.learning.export import export

    model, clip = read(arguments.run_folder)
    difference = export(arguments.output, model, clip)
    done, of = model.training["epochs_done"], model.training["schedule"]["epochs"]
    print(
        f"{arguments.output}: {model.word!r} after epoch {done} of {of}, at most {difference:.1g} from Keras; its "
        f"threshold is {model.threshold:g} until `chimed-train evaluate --set-threshold` chooses one"
    )
