"""`chimed-train stitch`: its options, and what it prints."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any


def add_stitch(commands: Any) -> None:
    """Add the command to a parser's sub-commands (what `add_subparsers` gives)."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "stitch",
        help="join a phrase from the phones of transcribed real speech, one speaker at a time",
        description="Real voices for a phrase that nobody recorded: transcribed speech is aligned phone by phone, "
        "and the phrase is joined from pieces of one speaker at a time. A folder of speech holds recordings "
        "(SPEAKER/NAME.flac or any other format) and a transcripts.txt with lines of NAME, a tab, and the text; or "
        "a NAME.txt beside each recording. Give DIR/positives-stitched/* to the other commands as positives: each "
        "speaker's clips then fall into the same split as that speaker's speech.",
        epilog='example:\n  chimed-train stitch "hey computer" --speech librispeech -o stitched',
    )
    parser.add_argument("phrase", help="English words that PocketSphinx's dictionary has")
    parser.add_argument(
        "--speech", type=Path, nargs="+", required=True, metavar="DIR", help="real speech and its transcripts"
    )
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="writes DIR/positives-stitched, DIR/report"
    )
    parser.add_argument(
        "--variants", type=_count, default=12, metavar="N", help="clips of one speaker, at most (default: %(default)s)"
    )
    parser.add_argument("--jobs", type=_count, default=os.cpu_count() or 1, metavar="N", help="default: all cores")
    parser.add_argument("--work", type=Path, default=Path("work"), metavar="DIR", help="keeps the alignments")
    parser.set_defaults(run=run)


def _count(text: str) -> int:
    if not 1 <= (value := int(text)) <= 99:
        raise argparse.ArgumentTypeError("must be from 1 to 99")
    return value


def run(arguments: argparse.Namespace) -> None:
    """Stitch, draw the report and print what came of it. Raises TrainingError."""
    from training.stitch import CLIPS, stitch
    from training.stitch_report import report

    outcome = stitch(
        arguments.phrase, arguments.speech, arguments.output, arguments.work, arguments.variants, arguments.jobs
    )
    report(outcome.clips, arguments.output / CLIPS, arguments.output / "report")
    print(outcome.summary())  # noqa: T201 - a command's answer
