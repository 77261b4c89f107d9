"""`chimed-train stress`: its options, and what it prints."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.cli.options import seed
from training.measuring.recordings_from_options import add_others, load_recordings

if TYPE_CHECKING:
    from training.dsp.decode import Int16Array
    from training.measuring.confidence_intervals import Rate
    from training.measuring.stress import SituationResult

VOICES = 24  # that say each near word
HEADINGS = {"heard": "the word, heard", "fired": "not the word, and fired", "hours": "fired, per hour"}


def add_stress(commands: Any) -> None:
    """Add the command to a parser's sub-commands (what `add_subparsers` gives)."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "stress",
        help="measure a model where it is hard: far, loud, fast, in a sentence, near words, an hour without a pause",
        description="Puts recordings of the word into the situations that a daemon meets, and says how many are still "
        "heard; then half words, near words and sounds that are not speech, and says how often it fires at them. All "
        "at the model's own threshold.",
        epilog="example:\n  chimed-train stress mine.npz --positives me/positives --speech talk --near mind nine",
    )
    parser.add_argument("model", type=Path, metavar="NPZ", help="the model file to measure")
    parser.add_argument(
        "--positives", type=Path, nargs="+", required=True, metavar="DIR", help="recordings of the word alone"
    )
    add_others(parser)
    parser.add_argument(
        "--near", nargs="*", default=[], metavar="TEXT", help="words that are nearly it, for synthetic voices to say"
    )
    parser.add_argument(
        "--split",
        default="all",
        choices=("all", "train", "dev", "test", "dev+test"),
        help="of the folders, the word's excepted: all, or what training left out (default: %(default)s)",
    )
    parser.add_argument(
        "--minutes", type=float, default=60.0, help="of sound without a pause before the last words (default: 60)"
    )
    parser.add_argument("--seed", type=seed, default=0, help="of what is drawn at random (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Measure, and print. Raises TrainingError."""
    import json

    from model.modelfile import load
    from training.measuring.stress import StressSounds, stress

    model = load(arguments.model)
    sounds = StressSounds(
        load_recordings(arguments.positives, "all", arguments.work),
        load_recordings(arguments.speech, arguments.split, arguments.work, [model.word]),
        load_recordings(arguments.noise, arguments.split, arguments.work),
        _spoken(arguments.near, arguments.seed),
    )
    lines = list(stress(model, sounds, arguments.minutes, arguments.seed))
    if arguments.json:
        entries = [{"what": line.title, "kind": line.kind, **vars(line.rate)} for line in lines]
        print(json.dumps({"word": model.word, "threshold": model.threshold, "figures": entries}, indent=1))
    else:
        print(table(lines))


def table(lines: list[SituationResult]) -> str:
    """Three tables, as Markdown: the word, what is not the word, and sounds by the hour."""
    from training.measuring.text_tables import accepts, markdown

    parts = []
    for kind, heading in HEADINGS.items():
        shown = accepts if kind == "hours" else _share
        rows = [[line.title, shown(line.rate)] for line in lines if line.kind == kind]
        if rows:
            parts.append(markdown([heading, ""], rows))
    return "\n\n".join(parts)


def _share(rate: Rate) -> str:
    low, high = rate.wilson()
    return f"{rate.count} of {rate.total:g}, {rate.value:.0%} [{low:.0%}-{high:.0%}]"


def _spoken(texts: list[str], seed: int) -> list[tuple[str, list[Int16Array]]]:
    """Each text by so many synthetic voices."""
    import numpy as np
    import soxr

    from model.frontend import FULL_SCALE, SAMPLE_RATE
    from training.dsp.decode import to_int16
    from training.utils.progress import bar
    from training.voices.engines import find_voices
    from training.voices.synthesize import draw, speak

    if not texts:
        return []
    voices = find_voices()
    spoken = []
    for text in texts:
        clips = []
        utterances = draw([text], voices, VOICES, np.random.default_rng(seed))
        for utterance in bar(utterances, text, "voice"):
            samples, rate = speak(utterance)
            clips.append(to_int16(soxr.resample(samples, rate, SAMPLE_RATE) * FULL_SCALE))
        spoken.append((text, clips))
    return spoken
