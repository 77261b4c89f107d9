"""`chimed-train fit`: its options."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from training.cli.options import seed


def add_fit(commands: Any) -> None:
    """Add the command to a parser's sub-commands (what `add_subparsers` gives)."""
    fit: argparse.ArgumentParser = commands.add_parser(
        "fit",
        help="train the network on folders of recordings, or on a built data set",
        description="Trains on endless streams of scenes made from the folders' recordings, of which the development "
        "and test shares are left out; or, with --built, on the examples of a data set, and the folders are only what "
        "it is measured on. Ctrl-C loses at most one epoch; the same command goes on.",
        epilog='example:\n  chimed-train fit "hey computer" --positives spoken/positives --spoken spoken/negatives \\\n'
        "      --speech talk --noise rooms -o hey_computer.npz",
    )
    fit.add_argument("word", help="the word or phrase, as the model file will name it")
    fit.add_argument("-o", "--output", type=Path, required=True, metavar="NPZ", help="the model file to write")
    fit.add_argument("--work", type=Path, default=Path("work"), metavar="DIR", help="decoded audio, checkpoints, log")
    fit.add_argument("--run-name", default="run", help="folder of this training below --work (default: %(default)s)")
    _add_recordings(fit.add_argument_group("recordings"))
    _add_course(fit.add_argument_group("the course of the training"))
    _add_targets(fit.add_argument_group("what is learned"))
    fit.set_defaults(run=run)


def _add_recordings(group: Any) -> None:
    group.add_argument(
        "--positives", type=Path, nargs="+", required=True, metavar="DIR", help="recordings of the word alone"
    )
    group.add_argument(
        "--spoken", type=Path, nargs="+", default=[], metavar="DIR", help="synthetic negatives; needed without --built"
    )
    group.add_argument("--built", metavar="SET", help="train on what `chimed-train build` made: a folder or fsspec URL")
    group.add_argument(
        "--speech", type=Path, nargs="+", required=True, metavar="DIR", help="real speech without the word"
    )
    group.add_argument("--noise", type=Path, nargs="+", required=True, metavar="DIR", help="noise without speech")
    group.add_argument(
        "--says",
        nargs=2,
        action="append",
        default=[],
        metavar=("DIR", "TEXT"),
        help="what every recording in a folder says, for --phones; recordings with a transcripts.txt need none",
    )


def _add_course(group: Any) -> None:
    group.add_argument("--epochs", type=int, default=40, help="default: %(default)s")
    group.add_argument(
        "--epoch-batches", type=int, help="of 2.55 s of every stream (default: 250; once through the set with --built)"
    )
    group.add_argument("--rows", type=int, default=32, help="parallel streams (default: %(default)s)")
    group.add_argument("--learning-rate", type=float, metavar="X", help="default: 0.001; 0.0007 with --start")
    group.add_argument("--start", type=Path, metavar="NPZ", help="begin with the weights of this model file")
    group.add_argument(
        "--near",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="with --start: share of the real speech that is drawn from where that model nearly hears the word in it "
        "(default: none)",
    )
    group.add_argument("--measure-every", type=int, default=5, metavar="EPOCHS", help="default: %(default)s")
    group.add_argument(
        "--stop-at",
        type=float,
        metavar="FA_PER_HOUR",
        help="stop when the words heard at so many false accepts an hour no longer grow, and keep the best weights",
    )
    group.add_argument(
        "--patience", type=int, default=4, metavar="N", help="measurements without a better one (default: %(default)s)"
    )
    group.add_argument("--threads", type=int, default=1, help="for TensorFlow (default: %(default)s)")
    group.add_argument("--seed", type=seed, default=0, metavar="N", help="another one, another training (default: 0)")


def _add_targets(group: Any) -> None:
    group.add_argument("--scaling", default="log", choices=("log", "relative", "power"), help="features to train on")
    group.add_argument(
        "--phones",
        action=argparse.BooleanOptionalAction,
        help="teach the network the phones of all transcribed recordings beside the word (default: where PocketSphinx "
        "is installed)",
    )
    group.add_argument(
        "--event-from",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="share of the epochs after which the loss counts words and false accepts, not steps (default: never)",
    )
    group.add_argument(
        "--negative-weight",
        type=float,
        default=1.0,
        help="of a stretch without the word, where the loss counts events (default: %(default)s)",
    )


def _check_built(arguments: argparse.Namespace) -> int:
    """How many batches an epoch has with --built, 0 without. Raises TrainingError for what excludes it."""
    from training.utils.errors import TrainingError

    if arguments.built is None:
        if not arguments.spoken:
            raise TrainingError("--spoken DIR is needed: synthetic negatives, as `chimed-train speak` makes them")
        return 0
    from training.dataset.shards import Dataset
    from training.learning.dataset_batches import epoch_batches

    given = {
        "--spoken": arguments.spoken,
        "--epoch-batches": arguments.epoch_batches,
        "--phones": arguments.phones,
        "--says": arguments.says,
        "--event-from": arguments.event_from < 1,
        "--near": arguments.near > 0,
    }
    if wrong := [name for name, value in given.items() if value]:
        raise TrainingError(f"{wrong[0]} does not go with --built: a built example holds only sound and labels")
    return epoch_batches(len(Dataset(arguments.built)), arguments.rows)


def run(arguments: argparse.Namespace) -> None:
    """Train, and write the model file. Raises TrainingError."""
    from model.frontend import FrontEnd
    from model.modelfile import load
    from training.alignment.phone_targets import WITHOUT_PHONES, can_align
    from training.learning.early_stopping import EarlyStopping
    from training.learning.scene_batches import Folders, TrainingPlan
    from training.learning.schedule import CONTINUED_LEARNING_RATE, Schedule
    from training.learning.trainer import Trainer
    from training.scenes.recipe import SceneRecipe
    from training.utils.errors import TrainingError

    built = _check_built(arguments)
    start = load(arguments.start) if arguments.start else None
    if arguments.near and (start is None or start.word != arguments.word):
        raise TrainingError(f'--near needs --start NPZ: a model of "{arguments.word}", which nearly hears it elsewhere')
    if not 0 <= arguments.near <= 1:
        raise TrainingError(f"--near: a share is wanted, from 0 to 1, not {arguments.near:g}")
    phones = False if built else arguments.phones
    if phones is None and not (phones := can_align()):
        print(WITHOUT_PHONES, file=sys.stderr)
    folders = Folders(
        positives=tuple(arguments.positives),
        spoken=tuple(arguments.spoken or arguments.speech),  # a built set has its own, and nothing is measured on it
        speech=tuple(arguments.speech),
        noise=tuple(arguments.noise),
        cache=arguments.work / "cache",
        says=tuple((Path(folder), text) for folder, text in arguments.says),
        word=arguments.word,
    )
    plan = TrainingPlan(
        folders,
        FrontEnd(arguments.scaling),
        SceneRecipe(near=arguments.near),
        arguments.seed,
        phones_of=arguments.word if phones else None,
        rows=arguments.rows,
        epoch_steps=built or arguments.epoch_batches or TrainingPlan.epoch_steps,
        built=arguments.built,
    )
    schedule = Schedule(
        epochs=arguments.epochs,
        learning_rate=arguments.learning_rate
        or (CONTINUED_LEARNING_RATE if arguments.start else Schedule.learning_rate),
        measure_every=arguments.measure_every,
        stopping=EarlyStopping(arguments.stop_at, arguments.patience) if arguments.stop_at is not None else None,
        threads=arguments.threads,
        event_from=arguments.event_from,
        negative_weight=arguments.negative_weight,
    )
    fit = Trainer(arguments.word, plan, schedule, arguments.work / arguments.run_name, start)
    fit.run()
    fit.export(arguments.output)
