"""`chimed-train evaluate`: its options, and what it prints."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.cli.options import threshold
from training.measuring.recordings_from_options import add_others, load_recordings

if TYPE_CHECKING:
    from training.measuring.evaluation import Evaluation
    from training.measuring.operating_points import OperatingPoint


def add_evaluate(commands: Any) -> None:
    """Add the command to a parser's sub-commands (what `add_subparsers` gives)."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "evaluate",
        help="measure model files: words missed, false accepts per hour",
        description="Scores recordings as the daemon would. Several models are measured on the same recordings and "
        "printed side by side. Intervals are of 95 %: Wilson's for shares, Garwood's for rates.",
        epilog="example:\n  chimed-train evaluate mine.npz --positives me/positives --speech talk --html report.html",
    )
    parser.add_argument("models", type=Path, nargs="+", metavar="NPZ", help="the model files to measure")
    parser.add_argument(
        "--positives", type=Path, nargs="*", default=[], metavar="DIR", help="recordings of the word alone"
    )
    add_others(parser)
    parser.add_argument(
        "--split",
        default="all",
        choices=("all", "train", "dev", "test", "dev+test"),
        help="of the folders: all recordings, or those that training left out (default: %(default)s)",
    )
    parser.add_argument(
        "--all-positives",
        action="store_true",
        help="all recordings of the word, whatever --split says: no training saw any of them",
    )
    parser.add_argument(
        "--snr", type=float, nargs="*", default=[10.0], metavar="DB", help="also in noise (default: 10)"
    )
    parser.add_argument(
        "--threshold", type=threshold, nargs="+", metavar="X", help="list these instead of the usual ones"
    )
    into_the_file = parser.add_mutually_exclusive_group()
    into_the_file.add_argument(
        "--set-threshold",
        type=float,
        metavar="FA_PER_HOUR",
        help="write into the model file the lowest threshold that fires no more often in --speech and --noise, and "
        "what it gave",
    )
    into_the_file.add_argument(
        "--write-threshold",
        type=threshold,
        metavar="X",
        help="write into the model file this threshold, and what it gave",
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write a report: curves, worst misses, sound")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Measure, print, and write what is asked for. Raises TrainingError."""
    import json
    from dataclasses import replace

    from model.modelfile import load, save
    from training.measuring.evaluation import THRESHOLDS, evaluate
    from training.measuring.operating_points import as_json, threshold_sweep
    from training.measuring.text_tables import compare, table
    from training.utils.errors import TrainingError

    models = dict(zip(_names(arguments.models), map(load, arguments.models), strict=True))
    written = arguments.set_threshold is not None or arguments.write_threshold is not None
    if written and len(arguments.models) > 1:
        raise TrainingError("--set-threshold and --write-threshold are for one model at a time")
    # never in this sound, 0, may be asked of noise alone
    judging = [*arguments.speech, *(arguments.noise if arguments.set_threshold == 0 else [])]
    if arguments.set_threshold is not None and not judging:
        raise TrainingError("--set-threshold chooses by false accepts on speech: name folders of it with --speech")
    split = "all" if arguments.all_positives else arguments.split
    words = {str(folder): load_recordings([folder], split, arguments.work) for folder in arguments.positives}
    named = {"speech": arguments.speech, "noise": arguments.noise}
    said = sorted({model.word for model in models.values()})
    others = {
        name: load_recordings(folders, arguments.split, arguments.work, said if name == "speech" else ())
        for name, folders in named.items()
        if folders
    }
    for name, recordings in (words | others).items():
        if not recordings:
            raise TrainingError(f"{name}: no recording of the split {arguments.split}; name more, or another --split")
    if not words | others:
        raise TrainingError("nothing to measure on: name folders with --positives, --speech or --noise")
    evaluations = evaluate(models, words, others, [None, *arguments.snr])
    if written:
        own, rate = arguments.write_threshold, arguments.set_threshold
        chosen = evaluations[0].at(own) if own is not None else _choose(evaluations[0], rate)
        measured = {"split": arguments.split, **as_json([chosen])[0], "points": threshold_sweep(evaluations[0].curve)}
        model = replace(evaluations[0].model, threshold=chosen.threshold, measured=measured)
        save(arguments.models[0], model)
        evaluations = [replace(evaluations[0], model=model)]
        print(f"{arguments.models[0]}: threshold {chosen.threshold:g}", file=sys.stderr)
    thresholds = arguments.threshold or THRESHOLDS
    if arguments.json:
        content = {"split": arguments.split, "models": [each.as_json(thresholds) for each in evaluations]}
        print(json.dumps(content, indent=1))
    else:
        parts = [compare(evaluations)]
        parts += [f"{each.name}, by threshold\n\n{table(each, thresholds)}" for each in evaluations]
        print("\n\n".join(parts))
    if arguments.html:
        from training.report.html_report import write_report

        every = arguments.all_positives and arguments.split != "all"
        write_report(arguments.html, evaluations, arguments.split + " and all of the word" * every)


def _choose(evaluation: Evaluation, fa_per_hour: float) -> OperatingPoint:
    """For --set-threshold; a careful one, which is said, where there is not speech enough. Raises TrainingError."""
    threshold, why = evaluation.cautious_threshold(evaluation.choose_threshold(fa_per_hour).threshold, fa_per_hour)
    if why:
        print(why, file=sys.stderr)
    return evaluation.at(threshold)


def _names(paths: Sequence[Path]) -> list[str]:
    """The files' names; with their folders where two are the same."""
    stems = [path.stem for path in paths]
    return [path.stem if stems.count(path.stem) == 1 else str(path) for path in paths]
