"""Write evaluations as one HTML file: figures, curves, and the worst mistakes to see and to hear.

The file needs nothing else: pictures and sound lie in it, and it may load nothing from anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from model.frontend import SAMPLE_RATE
from training.measuring.confidence_intervals import Rate
from training.measuring.evaluation import Evaluation
from training.measuring.operating_points import OperatingPoint
from training.measuring.score_recordings import condition
from training.report.charts import SERIES_COLOURS, DetLine, Spot, clip_chart, det_chart, latency_chart, noise_chart
from training.report.embedded_media import sound, spectrogram_db
from training.report.worst_clips import WorstClip, hardest_words, likest_sounds

CLIPS_BYTES = 4_000_000  # of pictures and sound; what comes after that is listed without


def write_report(path: Path, evaluations: Sequence[Evaluation], split: str) -> None:
    """Write the report. split: of the recordings, for the reader. Raises OSError if the file cannot be written."""
    path.write_text(html(evaluations, split), encoding="utf-8")


def html(evaluations: Sequence[Evaluation], split: str) -> str:
    """The report as a document."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("training.report", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    return environment.get_template("report.html.j2").render(_contents(evaluations, split))


def _contents(evaluations: Sequence[Evaluation], split: str) -> dict[str, Any]:
    """What the template shows."""
    first = evaluations[0]
    lines = _det_lines(evaluations)
    det, spots = det_chart(lines, first.streams[0].name, first.streams[0].hours) if lines else ("", [])
    budget = _Budget(CLIPS_BYTES)
    return {
        "word": first.model.word,
        "split": split,
        "words": len({id(trial.recording) for trial in first.trials}),
        "conditions": len(_snrs(first)),
        "hours": sum(stream.hours for stream in first.streams),
        "models": [_model(each, budget) for each in evaluations],
        "colours": SERIES_COLOURS,
        "det": det,
        "det_labels": [line.label for line in lines],
        "noise": _noise(evaluations),
        "latency": _latency(evaluations),
        "by_source": _by_source(evaluations),
        "steps": [each.steps for each in evaluations],
        "points": _points(evaluations, lines, spots),
    }


class _Budget:
    """So many bytes may still be embedded."""

    def __init__(self, left: int) -> None:
        self._left = left

    def embed(self, part: str) -> str:
        """The part, or nothing if there is no room for it."""
        if len(part) > self._left:
            return ""
        self._left -= len(part)
        return part


def _model(evaluation: Evaluation, budget: _Budget) -> dict[str, Any]:
    threshold = evaluation.model.threshold
    own = evaluation.at(threshold)
    return {
        "name": evaluation.name,
        "threshold": threshold,
        "tiles": _tiles(evaluation, own),
        "misses": {name: _missed(rate) for name, rate in own.recall.items()},
        "false_accepts": own.false_accepts,
        "trials": len(evaluation.trials),
        "missed": sum(trial.hit(threshold) is None for trial in evaluation.trials),
        "hardest": [_embedded(clip, threshold, budget) for clip in hardest_words(evaluation)],
        "likest": [_embedded(clip, threshold, budget) for clip in likest_sounds(evaluation)],
    }


def _embedded(clip: WorstClip, threshold: float, budget: _Budget) -> dict[str, Any]:
    """A clip, its picture and its sound; without them where there is no room, or nothing in it."""
    seen = heard = ""
    if len(clip.samples):
        decibels = spectrogram_db(clip.samples)
        seen = budget.embed(clip_chart(decibels, clip.seconds, clip.posterior, threshold, clip.word))
        heard = budget.embed(sound(clip.samples)) if seen else ""
    return {"clip": clip, "svg": seen, "audio": heard}


def _snrs(evaluation: Evaluation) -> list[float | None]:
    """The conditions, from the quietest to the noisiest."""
    found = {trial.snr_db for trial in evaluation.trials}
    return sorted(found, key=lambda snr: float("-inf") if snr is None else -snr)


def _missed(rate: Rate) -> Rate:
    return Rate(int(rate.total) - rate.count, rate.total)


def _missed_in(point: OperatingPoint, snr_db: float | None) -> Rate:
    """Of the words of all folders in one condition."""
    ending = f", {condition(snr_db)}"
    return _missed(sum((rate for name, rate in point.recall.items() if name.endswith(ending)), Rate(0, 0)))


def _tiles(evaluation: Evaluation, own: OperatingPoint) -> list[tuple[str, str, str]]:
    """Figures: the value, what it is, and its interval or another."""
    tiles = []
    for snr in _snrs(evaluation):
        rate = _missed_in(own, snr)
        low, high = rate.wilson()
        where = "in a quiet room" if snr is None else f"in noise at {condition(snr)}"
        tiles.append((f"{rate.value * 100:.1f} %", f"missed {where}", f"{low * 100:.0f} to {high * 100:.0f} %"))
    for name, rate in own.false_accepts.items():
        low, high = rate.poisson()
        tiles.append((f"{rate.value:.2f}", f"false accepts an hour, {name}", f"{low:.1f} to {high:.1f}"))
    if latency := evaluation.latency(own.threshold):
        within = f"90 % within {latency.percentile90:.2f} s"
        tiles.append((f"{latency.median:.2f} s", "after the word's end (median)", within))
    return tiles


def _det_lines(evaluations: Sequence[Evaluation]) -> list[DetLine]:
    """Of one model a line for each condition, of several one for each; none without words or other sound."""
    first = evaluations[0]
    if not first.trials or not first.streams:
        return []
    stream = first.streams[0].name

    def line(label: str, number: int, missed: Callable[[OperatingPoint], Rate]) -> DetLine:
        evaluation = evaluations[number]
        points = (evaluation.at(evaluation.model.threshold), *evaluation.curve)
        own, *curve = [(point.false_accepts[stream].value, missed(point).value) for point in points]
        return DetLine(label, number, curve, own)

    if len(evaluations) > 1:
        return [line(each.name, number, lambda point: point.misses) for number, each in enumerate(evaluations)]
    return [line(condition(snr), 0, partial(_missed_in, snr_db=snr)) for snr in _snrs(first)[:SERIES_COLOURS]]


def _noise(evaluations: Sequence[Evaluation]) -> str:
    snrs = _snrs(evaluations[0])
    own = [each.at(each.model.threshold) for each in evaluations]
    rates = [[_missed_in(point, snr) for snr in snrs] for point in own]
    return noise_chart([condition(snr) for snr in snrs], rates) if snrs else ""


def _latency(evaluations: Sequence[Evaluation]) -> str:
    late = []
    for evaluation in evaluations:
        hits = ((trial.hit(evaluation.model.threshold), trial.word_end) for trial in evaluation.trials)
        late.append([(hit - end) / SAMPLE_RATE for hit, end in hits if hit is not None])
    return latency_chart(late) if any(late) else ""


def _by_source(evaluations: Sequence[Evaluation]) -> list[tuple[str, float, bool, list[Rate]]]:
    """Streams and, where there are several, the folders in them, the worst first: name, hours, folder, each model's."""
    by_source = [each.by_source(each.model.threshold) for each in evaluations]
    own = [each.at(each.model.threshold).false_accepts for each in evaluations]
    rows = []
    for stream in evaluations[0].streams:
        rows.append((stream.name, stream.hours, False, [rates[stream.name] for rates in own]))
        hours = stream.hours_by_source()
        if len(hours) > 1:
            inner = [
                (source, hours[source], True, [each[stream.name][source] for each in by_source]) for source in hours
            ]
            rows += sorted(inner, key=lambda row: -max(rate.value for rate in row[3]))
    return rows


def _points(
    evaluations: Sequence[Evaluation], lines: Sequence[DetLine], spots: Sequence[Sequence[Spot]]
) -> list[list[dict[str, Any]]]:
    """What the script reads, by model and threshold: counts, totals, intervals; each dot's number and where it then is.

    spots: of each line, where its points lie in the picture.
    """

    def of(rate: Rate, interval: tuple[float, float]) -> list[float]:
        return [rate.count, round(rate.total, 4), *(round(limit, 3) for limit in interval)]

    return [
        [
            {
                "t": point.threshold,
                "missed": [of(missed, missed.wilson()) for missed in map(_missed, point.recall.values())],
                "fired": [of(rate, rate.poisson()) for rate in point.false_accepts.values()],
                "marks": [
                    [number, *places[place]]
                    for number, (line, places) in enumerate(zip(lines, spots, strict=True))
                    if line.model == model
                ],
            }
            for place, point in enumerate(evaluation.curve)
        ]
        for model, evaluation in enumerate(evaluations)
    ]
