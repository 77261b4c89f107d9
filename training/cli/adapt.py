"""`chimed-train adapt`: its options, and what it prints."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.cli.options import open_share, seed, whole_number

if TYPE_CHECKING:
    from model.modelfile import Model
    from training.corpora.corpus import Corpus
    from training.pipeline.adapt_voice import AdaptationSounds

OTHER_WORDS = 10_000  # among which those are looked for that sound like the word; a dictionary would take minutes


def add_adapt(commands: Any) -> None:
    """Add the command to a parser's sub-commands (what `add_subparsers` gives)."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "adapt",
        help="fine-tune a model to one voice with 5 to 30 recordings",
        description="Changes a trained model a little, so that it hears one voice better. Each recording is held back "
        "once, and the words heard and the false accepts on what was held back are shown, before and after; a model "
        "that hears worse is not written. So that the model does not forget other voices, the speech synthesisers of "
        "this machine say the word and other words beside the recordings.",
        epilog="example:\n  chimed-train adapt activate --positives me/positives --negatives me/negatives -o mine.npz",
    )
    parser.add_argument("model", metavar="NPZ", help="the model file to begin with, or the name of one that ships")
    parser.add_argument(
        "--positives", type=Path, nargs="+", required=True, metavar="DIR", help="recordings of the word by this voice"
    )
    parser.add_argument(
        "--negatives", type=Path, nargs="*", default=[], metavar="DIR", help="other speech and sounds, not the word"
    )
    parser.add_argument(
        "--backgrounds", type=Path, nargs="*", default=[], metavar="DIR", help="noise without speech, such as the room"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="NPZ", help="the model file to write (default: the word, _adapted.npz)"
    )
    parser.add_argument(
        "--synthetic",
        type=whole_number(0, 100_000),
        default=400,
        metavar="N",
        help="utterances of other words by synthetic voices, and half as many of the word (default: %(default)s)",
    )
    parser.add_argument(
        "--batches", type=whole_number(1, 100_000), default=150, metavar="N", help="of a training (default: 150)"
    )
    parser.add_argument(
        "--rows", type=whole_number(1, 100_000), default=16, metavar="N", help="parallel streams (default: 16)"
    )
    parser.add_argument("--learning-rate", type=open_share, default=3e-4, metavar="X", help="default: %(default)s")
    parser.add_argument(
        "--folds", type=whole_number(2, 100_000), default=3, metavar="N", help="trainings that hold recordings back"
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("work"),
        metavar="DIR",
        help="keeps synthetic voices, and what was measured so far (default: work)",
    )
    parser.add_argument(
        "--threads", type=whole_number(1, 100_000), default=os.cpu_count() or 1, metavar="N", help="default: all cores"
    )
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="another one, other draws (default: 0)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Adapt, print before and after, and write the model file. Raises TrainingError if it would hear worse."""
    from model.modelfile import save
    from training.learning.fine_tune import FineTuner, FineTuneSettings
    from training.pipeline.adapt_voice import Folds, adapt, notes_of
    from training.utils.errors import TrainingError

    start = _model(arguments.model)
    output = arguments.output or Path(f"{start.word.replace(' ', '_').replace('/', '_')}_adapted.npz")
    if not output.parent.is_dir():  # not after minutes of training
        raise TrainingError(f"{output.parent}: no such folder; make it first, for the model file")
    if output.is_dir():
        raise TrainingError(f"{output}: a folder; name the model file, such as {output / 'mine.npz'}")
    sounds = _sounds(arguments, start)
    folds = Folds(sounds, arguments.folds, arguments.seed)
    gentle = FineTuneSettings(
        batches=arguments.batches,
        rows=arguments.rows,
        learning_rate=arguments.learning_rate,
        seed=arguments.seed,
        threads=arguments.threads,
    )
    tuner = FineTuner(start, gentle)
    outcome = adapt(start, sounds, tuner, folds, notes_of(start, sounds, tuner, folds, arguments.work))
    print(outcome.table())
    if outcome.refused:
        raise TrainingError(f"{output} is not written: {outcome.refused}; more recordings may help")
    save(output, outcome.model)
    print(f"written: {output}", file=sys.stderr)


def _model(name: str) -> Model:
    from model.modelfile import load, shipped
    from training.utils.errors import TrainingError

    ships = shipped()
    if Path(name).exists():
        return load(name)
    if (stem := name.removesuffix(".npz")) in ships:
        return load(ships[stem])
    raise TrainingError(f"{name} is neither a model file nor a word that ships ({', '.join(ships)})")


def _sounds(arguments: argparse.Namespace, start: Model) -> AdaptationSounds:
    """The recordings and what synthetic voices add to them."""
    from training.alignment.phone_targets import known_texts
    from training.corpora import corpus
    from training.corpora.exclude_word import exclude_word
    from training.pipeline.adapt_voice import AdaptationSounds, coloured_noise, words
    from training.utils.errors import TrainingError

    cache = arguments.work / "cache"
    own = words(arguments.positives, cache)
    negatives: Corpus | None = None
    if arguments.negatives:
        loaded = corpus.load(arguments.negatives, cache, "other sound")
        negatives = exclude_word(loaded, known_texts([loaded]), [start.word])
        if not negatives.clips:
            named = ", ".join(map(str, arguments.negatives))
            raise TrainingError(f'{named}: by their texts all recordings say "{start.word}"; name others')
    noise = (
        corpus.load(arguments.backgrounds, cache, "backgrounds")
        if arguments.backgrounds
        else coloured_noise(arguments.seed)
    )
    said = spoken = None
    if arguments.synthetic:
        folder = _speak(start.word, arguments.work, arguments.synthetic, arguments.seed)
        said = corpus.load([folder / "positives"], cache, "synthetic voices, the word")
        spoken = corpus.load([folder / "negatives"], cache, "synthetic voices, other words")
    elif negatives is None:
        raise TrainingError("without synthetic voices (--synthetic 0), name folders of other sound with --negatives")
    return AdaptationSounds(own, said, negatives, spoken, noise)


def _speak(word: str, work: Path, count: int, seed: int) -> Path:
    """The folder in which synthetic voices say the word and `count` other things; made once."""
    from training.voices.engines import find_voices
    from training.voices.negative_texts import handful, vocabulary
    from training.voices.synthesize import SPEECH_MANIFEST, speak_corpus

    folder = _folder(word, work, count, seed)
    if not (folder / "negatives" / SPEECH_MANIFEST).exists():
        folder.mkdir(parents=True, exist_ok=True)
        # words of a phrase are drawn one by one
        known = [text for text in vocabulary(word) if " " not in text]
        words = handful(word, known, OTHER_WORDS, seed)
        speak_corpus(word, folder, max(1, count // 2), count, seed, find_voices(), words)
    return folder


def _folder(word: str, work: Path, count: int, seed: int) -> Path:
    """Another one for every phrase: by its letters, for who looks, and by a hash, for other scripts have none."""
    import hashlib
    import re

    letters = re.findall(r"[a-z0-9]+", word.lower())
    return work / "-".join(["spoken", *letters, hashlib.sha256(word.encode()).hexdigest()[:8], str(count), str(seed)])
