"""`chimed-train build`: its options, and what it prints."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from training.cli.options import whole_number


def add_build(commands: Any) -> None:
    """Add the command to a parser's sub-commands (what `add_subparsers` gives)."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "build",
        help="mix recordings into labelled examples of 10 s",
        description="RAW_DATA holds folders of recordings: `positives` (or `activates`) of the word alone, `negatives` "
        "of other words, `backgrounds` of 10 s or more. What cannot be used is listed and left out. The same command "
        "goes on where it was interrupted; the result is the same whatever the number of workers.",
        epilog="example:\n  chimed-train build raw_data -o examples --recipe full",
    )
    parser.add_argument("raw_data", type=Path, metavar="RAW_DATA", help="folder of the recordings")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="a folder, or an fsspec URL (s3://…)")
    parser.add_argument("--examples", type=whole_number(1), default=4000, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--recipe",
        default="assignment",
        metavar="NAME",
        help="assignment, full, or a .yaml file (default: %(default)s)",
    )
    parser.add_argument(
        "--split",
        default="train",
        choices=("train", "dev", "test", "all"),
        help="build of the speakers or files of this split alone (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=whole_number(0, 2**63), default=0, metavar="N", help="another one, other examples (default: 0)"
    )
    parser.add_argument(
        "--workers",
        type=whole_number(1),
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes (default: all cores)",
    )
    parser.add_argument(
        "--scheduler", metavar="ADDRESS", help="build on the Dask cluster of this scheduler, tcp://host:8786"
    )
    parser.add_argument("--xy", type=Path, metavar="DIR", help="also write DIR/X.npy and DIR/Y.npy, the spectrograms")
    parser.add_argument("--work", type=Path, default=Path("work"), metavar="DIR", help="keeps decoded audio")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Build, and say what came of it. Raises TrainingError."""
    from training.dataset import build, raw_data, recipe
    from training.utils.storage import storage

    chosen = recipe.load(arguments.recipe)
    raw = raw_data.load(arguments.raw_data, arguments.work / "cache", arguments.split, chosen)
    if left_out := build.summary(raw):
        print(left_out, file=sys.stderr)
    plan = build.BuildPlan(chosen, raw.material, arguments.examples, arguments.seed, arguments.split)
    outcome = build.build(plan, arguments.output, arguments.workers, arguments.scheduler)
    build.write_problems(storage(arguments.output), raw.problems)
    made = f"{outcome.made} of them now, {outcome.rate:.1f} a second" if outcome.made else "all were there already"
    print(f"{arguments.output}: {outcome.examples} examples ({made})")
    if arguments.xy is not None:
        from training.dataset.xy_arrays import write_xy

        write_xy(arguments.output, arguments.xy, arguments.workers)
        print(f"{arguments.xy}: X.npy and Y.npy of {outcome.examples} examples")
