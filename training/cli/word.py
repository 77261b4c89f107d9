"""`chimed-train word`: its options, and what it prints."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from training.cli.options import seed, whole_number


def add_word(commands: Any) -> None:
    """Add the command to a parser's sub-commands (what `add_subparsers` gives)."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "word",
        help="everything: from a phrase to a measured model file",
        description="Speaks the phrase and near misses with every voice of this machine, adds what you have (all of it "
        "optional), trains, chooses a threshold, measures, and writes the model with a card (.md) and a report (.html) "
        "beside it. Interrupted, the same command goes on where it stood.",
        epilog='examples:\n  chimed-train word "hey computer"\n  chimed-train word "hey computer" --quick',
    )
    parser.add_argument("phrase", help='what to listen for, such as "hey computer"')
    parser.add_argument("-o", "--output", type=Path, metavar="NPZ", help="default: the phrase with underscores, .npz")
    parser.add_argument(
        "--positives", type=Path, nargs="+", default=[], metavar="DIR", help="your recordings of the word alone"
    )
    parser.add_argument(
        "--negatives", type=Path, nargs="+", default=[], metavar="DIR", help="recordings of speech without the word"
    )
    parser.add_argument("--backgrounds", type=Path, nargs="+", default=[], metavar="DIR", help="noise without speech")
    parser.add_argument(
        "--says",
        nargs=2,
        action="append",
        default=[],
        metavar=("DIR", "TEXT"),
        help="what every recording in one of the folders says: the network learns its phones, too",
    )
    parser.add_argument("--quick", action="store_true", help="a try in some ten minutes, for a poor model")
    parser.add_argument(
        "--fa-per-hour", type=float, default=0.5, metavar="RATE", help="false accepts wished (default: %(default)s)"
    )
    parser.add_argument("--words", type=Path, metavar="FILE", help="word list instead of the machine's dictionary")
    parser.add_argument("--piper-voices", type=Path, metavar="DIR", help="voices of Piper (or $PIPER_VOICES)")
    parser.add_argument("--kokoro", type=Path, metavar="DIR", help="Kokoro's model and voices (or $KOKORO)")
    parser.add_argument(
        "--clips", type=whole_number(1), metavar="N", help="synthetic clips of the word; twice as many others"
    )
    parser.add_argument("--epochs", type=whole_number(1), metavar="N", help="rounds of --epoch-batches (default: 20)")
    parser.add_argument("--epoch-batches", type=whole_number(1), metavar="N", help="of 2.55 s of every stream")
    parser.add_argument("--rows", type=whole_number(1), metavar="N", help="parallel streams")
    parser.add_argument(
        "--start", type=Path, metavar="NPZ", help="begin with the weights of this model, of this word or another"
    )
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="another one, another training (default: 0)")
    parser.add_argument("--work", type=Path, metavar="DIR", help="everything else (default: work/ and the phrase)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Train, and print what came of it. Raises TrainingError."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from dataclasses import replace

    from training.pipeline.options import QUICK, TrainingSize, TrainWordOptions
    from training.pipeline.train_word import train_word

    size = QUICK if arguments.quick else TrainingSize()
    given = {
        "positives": arguments.clips,
        "negatives": arguments.clips and 2 * arguments.clips,
        "epochs": arguments.epochs,
        "epoch_batches": arguments.epoch_batches,
        "rows": arguments.rows,
    }
    size = replace(size, **{name: value for name, value in given.items() if value})
    phrase = " ".join(arguments.phrase.split())
    name = phrase.replace(" ", "_").replace("/", "_")
    order = TrainWordOptions(
        phrase,
        (arguments.output or Path(name)).with_suffix(".npz"),
        arguments.work or Path("work") / name,
        tuple(arguments.positives),
        tuple(arguments.negatives),
        tuple(arguments.backgrounds),
        arguments.words,
        arguments.piper_voices,
        arguments.kokoro,
        size,
        arguments.seed,
        arguments.fa_per_hour,
        shlex.join(["chimed-train", *sys.argv[1:]]),
        tuple((Path(folder), text) for folder, text in arguments.says),
        arguments.start,
    )
    outcome = train_word(order)
    card = outcome.files[2].read_text(encoding="utf-8")
    print(card[card.index("## How good it is") :].partition("\n\n")[2])
    print(f"{', '.join(map(str, outcome.files))}\nthreshold {outcome.model.threshold:g}")
