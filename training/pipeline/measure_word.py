"""The threshold of a new word, and what its card and its report say of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from model.modelfile import Model, load, save
from training.measuring.evaluation import Evaluation, evaluate
from training.measuring.operating_points import CANDIDATES, as_json, threshold_sweep
from training.measuring.score_recordings import recordings
from training.pipeline.material import WordMaterial
from training.pipeline.options import TrainWordOptions
from training.utils.errors import TrainingError
from training.utils.resumable_steps import Result, ResumableSteps

SNRS_DB = (None, 20.0, 10.0, 5.0, 0.0)
MOST_WORDS = 300  # recordings of the word in each folder that are scored, at most
FILES: Mapping[str, str] = {".npz": "model.npz", ".html": "report.html", ".md": "card.md"}


def measure_word(options: TrainWordOptions, steps: ResumableSteps, material: WordMaterial, fitted: Path) -> Path:
    """Choose the threshold on the development split, measure on the test split; the folder of FILES."""
    from training.report.html_report import write_report
    from training.report.model_card import write_card

    model = load(fitted)

    def measure(folder: Path) -> Result:
        threshold, why = _choose_threshold(options, _evaluate(material, model, "dev"))
        if why:
            tqdm.write(why)
        test = _evaluate(material, replace(model, threshold=threshold), "test")
        measured = {
            "split": "test",
            "chosen_for": {"split": "dev", "false_accepts_an_hour": options.fa_per_hour},
            **as_json([test.at(threshold)])[0],
            "points": threshold_sweep(test.curve),
        }
        test = replace(test, model=replace(model, threshold=threshold, measured=measured))
        save(folder / FILES[".npz"], test.model)
        write_report(folder / FILES[".html"], [test], "test")
        notes = [*material.notes, why] if why else material.notes
        write_card(folder / FILES[".md"], test, options.command, notes, options.fa_per_hour)
        return {"threshold": threshold}

    settings = {"fa_per_hour": options.fa_per_hour, "command": options.command, "notes": material.notes}
    steps.run("evaluate", settings, measure)
    return options.work / "evaluate"


def _choose_threshold(options: TrainWordOptions, development: Evaluation) -> tuple[float, str]:
    """The lowest threshold that keeps to the wish for false accepts, and a reason where it is another one."""
    chosen = development.model.threshold
    if development.streams:
        try:
            chosen = development.choose_threshold(options.fa_per_hour).threshold
        except TrainingError:
            chosen = CANDIDATES[-1]
            wish = f"{options.fa_per_hour:g} times an hour"
            tqdm.write(f"it fires more than {wish} at any threshold: the highest is taken")
    return development.cautious_threshold(chosen, options.fa_per_hour, "development speech")


def _evaluate(material: WordMaterial, model: Model, split: str) -> Evaluation:
    """On what one split holds of each folder; an empty one is left out."""
    words: dict[str, Any] = {}
    for recording in recordings(material.positives.corpus, split):
        words.setdefault(recording.source, []).append(recording)
    words = {name: found[:MOST_WORDS] for name, found in words.items()}
    streams = {
        name: recordings(each.corpus, split) for name, each in (("speech", material.speech), ("noise", material.noise))
    }
    others = {name: found for name, found in streams.items() if found}
    return evaluate({model.word: model}, words, others, SNRS_DB)[0]
