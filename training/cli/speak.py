"""`chimed-train speak`: its options."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from training.cli.options import seed


def add_speak(commands: Any) -> None:
    """Add the command to a parser's sub-commands (what `add_subparsers` gives)."""
    speak = commands.add_parser(
        "speak",
        help="synthesise a phrase and near misses with every voice of this machine",
        epilog='example:\n  chimed-train speak "hey computer" -o spoken --positives 500 --negatives 1000',
    )
    speak.add_argument("phrase", help='what to listen for, such as "hey computer"')
    speak.add_argument(
        "-o", "--output", type=Path, required=True, metavar="DIR", help="writes DIR/positives, DIR/negatives"
    )
    speak.add_argument("--positives", type=int, default=5000, metavar="N", help="default: %(default)s")
    speak.add_argument("--negatives", type=int, default=10000, metavar="N", help="default: %(default)s")
    speak.add_argument("--words", type=Path, metavar="FILE", help="word list instead of the machine's dictionary")
    speak.add_argument(
        "--piper-voices", type=Path, metavar="DIR", help="voices of Piper, if it is installed (or $PIPER_VOICES)"
    )
    speak.add_argument(
        "--kokoro", type=Path, metavar="DIR", help="Kokoro's model and voices, if onnxruntime is installed (or $KOKORO)"
    )
    speak.add_argument("--seed", type=seed, default=0, metavar="N", help="another one, other recordings (default: 0)")
    speak.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Speak, and write the folders. Raises TrainingError."""
    from training.voices.engines import find_voices
    from training.voices.synthesize import speak_corpus, vocabulary_of

    speak_corpus(
        arguments.phrase,
        arguments.output,
        arguments.positives,
        arguments.negatives,
        arguments.seed,
        find_voices(arguments.piper_voices, arguments.kokoro),
        vocabulary_of(arguments.words),
    )
