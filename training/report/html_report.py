"""Evaluations in, one HTML file out: figures, curves, and the worst mistakes to see and to hear.

The file needs nothing else: pictures and sound lie in it, and it may load nothing from anywhere.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from model.frontend import SAMPLE_RATE, STEP
from training.dsp.decode import Int16Array
from training.measuring.confidence_intervals import Rate
from training.measuring.evaluation import Evaluation
from training.measuring.score_recordings import Stream, Trial, condition, sample_of
from training.report.charts import Axis, Chart, Series, Spot, event, percent_axis, rate_axis, round_axis
from training.report.embedded_media import picture, sound

WORST = 6  # of misses and of false accepts, for each model
CLIPS_BYTES = 4_000_000  # of pictures and sound; what comes after that is listed without
BEFORE_SECONDS, AFTER_SECONDS = 2.5, 1.0  # around a false accept
_COLOURS = 6


def write_report(path: Path, evaluations: Sequence[Evaluation], split: str) -> None:
    """Write the report. split: of the recordings, for the reader. Raises OSError if the file cannot be written."""
    path.write_text(html(evaluations, split), encoding="utf-8")


def html(evaluations: Sequence[Evaluation], split: str) -> str:
    """The report as a document."""
    first = evaluations[0]
    word = escape(first.model.word)
    hours = sum(stream.hours for stream in first.streams)
    words = len({id(trial.recording) for trial in first.trials})
    which = "all recordings" if split == "all" else f"recordings of the split {split}"
    parts = [
        f"{words} of the word, each in {len(_snrs(first))} conditions" if words else "",
        f"{hours:.2f} h without it" if hours else "",
    ]
    marks, det = _det(evaluations)
    budget = _Budget(CLIPS_BYTES)
    sections = [
        f"<h1>“{word}”</h1>",
        f'<p class="soft">Measured on {which}: {" and ".join(filter(None, parts))}. Scored as the daemon would. What '
        "stands small beside a figure is its interval of 95 %.</p>",
        *(_tiles(each, number, alone=len(evaluations) == 1) for number, each in enumerate(evaluations)),
        _curves(evaluations, det),
        _slider(evaluations),
        _sources(evaluations),
        _steps(evaluations),
        *(_worst(each, number, budget, alone=len(evaluations) == 1) for number, each in enumerate(evaluations)),
    ]
    assets = files("training.report") / "assets"
    style, script = ((assets / name).read_text(encoding="utf-8") for name in ("report.css", "report.js"))
    policy = "default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    return "\n".join(
        [
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{word}: how well it is heard</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>",
            *filter(None, sections),
            f'<script type="application/json" id="points">{_points(evaluations, marks)}</script>',
            f"<script>\n{script}</script>\n</main>\n</body>\n</html>\n",
        ]
    )


def _snrs(evaluation: Evaluation) -> list[float | None]:
    """The conditions, from the quietest to the noisiest."""
    found = {trial.snr_db for trial in evaluation.trials}
    return sorted(found, key=lambda snr: float("-inf") if snr is None else -snr)


def _missed(rate: Rate) -> Rate:
    return Rate(int(rate.total) - rate.count, rate.total)


def _share(rate: Rate) -> str:
    low, high = rate.wilson()
    return f"{rate.value:.1%} <small>{low * 100:.0f} to {high:.0%} · {rate.count} of {rate.total:g}</small>".replace(
        "%", " %"
    )


def _hourly(rate: Rate) -> str:
    low, high = rate.poisson()
    return f"{rate.value:.2f} <small>{low:.1f} to {high:.1f} · {rate.count}</small>"


def _key(number: int) -> str:
    return f'<span class="key s{number % _COLOURS}"></span>'


def _tiles(evaluation: Evaluation, number: int, *, alone: bool) -> str:
    point = evaluation.at(evaluation.model.threshold)
    tiles = []
    for snr in _snrs(evaluation):
        named = condition(snr)
        rates = [rate for name, rate in point.recall.items() if name.endswith(f", {named}")]
        rate = _missed(sum(rates, Rate(0, 0)))
        low, high = rate.wilson()
        where = "in a quiet room" if snr is None else f"in noise at {named}"
        tiles.append((f"{rate.value * 100:.1f} %", f"missed {where}", f"{low * 100:.0f} to {high * 100:.0f} %"))
    for name, rate in point.false_accepts.items():
        low, high = rate.poisson()
        tiles.append((f"{rate.value:.2f}", f"false accepts an hour, {name}", f"{low:.1f} to {high:.1f}"))
    if latency := evaluation.latency(evaluation.model.threshold):
        tiles.append(
            (f"{latency.median:.2f} s", "after the word's end (median)", f"90 % within {latency.percentile90:.2f} s")
        )
    cells = "".join(
        f'<div class="tile"><b>{value}</b>{title}<span>{interval}</span></div>' for value, title, interval in tiles
    )
    threshold = f"at its threshold of {evaluation.model.threshold:g}"
    title = (
        f"<h2>At a glance, {threshold}</h2>"
        if alone
        else f"<h2>{_key(number)}{escape(evaluation.name)}, {threshold}</h2>"
    )
    return f'{title}\n<div class="tiles">{cells}</div>'


def _lines(evaluations: Sequence[Evaluation]) -> list[tuple[Evaluation, str, Callable[[Any], Rate]]]:
    """What the curve shows: of one model each condition, of several each one's whole."""
    if len(evaluations) > 1:
        return [(each, each.name, lambda point: point.misses) for each in evaluations]
    [only] = evaluations

    def of(named: str) -> Callable[[Any], Rate]:
        return lambda point: _missed(
            sum((rate for name, rate in point.recall.items() if name.endswith(f", {named}")), Rate(0, 0))
        )

    return [(only, condition(snr), of(condition(snr))) for snr in _snrs(only)[:_COLOURS]]


def _det(evaluations: Sequence[Evaluation]) -> tuple[list[list[list[Spot]]], str]:
    """The places of the markers (model, point, line), and the figure; nothing without words or other sound."""
    empty: list[list[list[Spot]]] = [[[] for _ in each.curve] for each in evaluations]
    if not evaluations[0].trials or not evaluations[0].streams:
        return empty, ""
    stream = evaluations[0].streams[0]
    rates = [point.false_accepts[stream.name].value for each in evaluations for point in each.curve]
    chart = Chart(
        rate_axis(f"false accepts an hour, {stream.name}", stream.hours, max(rates)),
        percent_axis("words missed"),
        "words missed against false accepts an hour, over all thresholds",
    )
    legend = []
    for number, (evaluation, label, missed) in enumerate(_lines(evaluations)):
        series = Series([(p.false_accepts[stream.name].value, missed(p).value) for p in evaluation.curve])
        chart.line(series.points, number)
        legend.append(f"<li>{_key(number)}{escape(label)}</li>")
    for number, (evaluation, _, missed) in enumerate(_lines(evaluations)):
        model = evaluations.index(evaluation)
        marks = empty[model]
        for place, point in zip(marks, evaluation.curve, strict=True):
            place.append(chart.at(point.false_accepts[stream.name].value, missed(point).value))
        own = evaluation.at(evaluation.model.threshold)
        chart.dot(
            own.false_accepts[stream.name].value,
            missed(own).value,
            number,
            marker=f"{model}-{len(marks[0]) - 1}",
        )
    figure = (
        '<figure class="card"><h3>What fewer false accepts cost</h3>'
        "<figcaption>Each point of a line is a threshold; the dots are those in use. Lower and further left is "
        f'better.</figcaption>{chart.svg()}<ul class="legend">{"".join(legend)}</ul></figure>'
    )
    return empty, figure


def _curves(evaluations: Sequence[Evaluation], det: str) -> str:
    figures = [det, _noise(evaluations), _latency(evaluations)]
    return f'<h2>Curves</h2>\n<div class="grid2">{"".join(figures)}</div>' if any(figures) else ""


def _noise(evaluations: Sequence[Evaluation]) -> str:
    snrs = _snrs(evaluations[0])
    if not snrs:
        return ""
    ticks = [(float(place), condition(snr)) for place, snr in enumerate(snrs)]
    chart = Chart(Axis("noise", -0.5, len(snrs) - 0.5, ticks), percent_axis("words missed"), "words missed by noise")
    for number, evaluation in enumerate(evaluations):
        shift = (number - (len(evaluations) - 1) / 2) * 14
        for place, snr in enumerate(snrs):
            hits = [
                trial.hit(evaluation.model.threshold) is not None for trial in evaluation.trials if trial.snr_db == snr
            ]
            rate = Rate(len(hits) - sum(hits), len(hits))
            low, high = rate.wilson()
            chart.whisker(place, low, high, number % _COLOURS, shift)
            chart.spot(place, rate.value, number % _COLOURS, shift)
    return (
        '<figure class="card"><h3>In noise</h3><figcaption>Pink noise at so many dB below the speech, and a quiet '
        f"room, each model at its own threshold.</figcaption>{chart.svg()}{_legend(evaluations)}</figure>"
    )


def _latency(evaluations: Sequence[Evaluation]) -> str:
    late = []
    for evaluation in evaluations:
        hits = ((trial.hit(evaluation.model.threshold), trial.word_end) for trial in evaluation.trials)
        late.append([(hit - end) / SAMPLE_RATE for hit, end in hits if hit is not None])
    everything = [second for each in late for second in each]
    if not everything:
        return ""
    x = round_axis("seconds after the word's end", min(everything), max(everything) + 1e-3)
    edges = np.linspace(x.low, x.high, 25)
    counts = [np.histogram(each, edges)[0] for each in late]
    chart = Chart(x, round_axis("words", 0, max(int(max(each)) for each in counts)), "how late words are heard")
    for number, each in enumerate(counts):
        for left, right, count in zip(edges[:-1], edges[1:], each, strict=True):
            width = (right - left) / len(counts)
            if count:
                chart.block(left + number * width, left + (number + 1) * width, float(count), number % _COLOURS)
    return (
        '<figure class="card"><h3>How late</h3><figcaption>From the end of the last loud 10 ms of the word to the '
        f"detection; below 0 it fired before the end.</figcaption>{chart.svg()}{_legend(evaluations)}</figure>"
    )


def _legend(evaluations: Sequence[Evaluation]) -> str:
    if len(evaluations) == 1:
        return ""
    items = "".join(f"<li>{_key(number)}{escape(each.name)}</li>" for number, each in enumerate(evaluations))
    return f'<ul class="legend">{items}</ul>'


def _table(header: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], attributes: str = "") -> str:
    """All cells are HTML; the first of a row comes with its tag."""
    head = "".join(f"<th>{cell}</th>" for cell in header)
    body = "".join(f"<tr>{title}{''.join(cells)}</tr>" for title, cells in rows)
    return f'<div class="scroll"><table{attributes}><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _slider(evaluations: Sequence[Evaluation]) -> str:
    points = [each.at(each.model.threshold) for each in evaluations]
    rows = []
    for row, name in enumerate(points[0].recall):
        cells = [
            f'<td data-model="{number}" data-kind="missed" data-row="{row}">{_share(_missed(point.recall[name]))}</td>'
            for number, point in enumerate(points)
        ]
        rows.append((f"<th>missed: {escape(name)}</th>", cells))
    for row, (name, rate) in enumerate(points[0].false_accepts.items()):
        cells = [
            f'<td data-model="{number}" data-kind="fired" data-row="{row}">{_hourly(point.false_accepts[name])}</td>'
            for number, point in enumerate(points)
        ]
        rows.append((f"<th>false accepts an hour: {escape(name)} ({rate.total:.2f} h)</th>", cells))
    start = round(evaluations[0].model.threshold * 1000)
    note = "" if len(points) == 1 else ' <span class="soft">(until you move it: each model\'s own)</span>'
    return (
        "<h2>At any threshold</h2>\n"
        '<div class="card"><div id="slide" hidden><label for="slider">Threshold '
        f'<output id="threshold">{evaluations[0].model.threshold:g}</output> '
        f"{note}</label>"
        f'<input type="range" id="slider" min="1" max="999" value="{start}"></div>'
        f"{_table(['', *(escape(each.name) for each in evaluations)], rows)}</div>"
    )


def _points(evaluations: Sequence[Evaluation], marks: Sequence[Sequence[Sequence[Spot]]]) -> str:
    """What the script reads: counts, totals and intervals at each threshold, and where the dots then are."""

    def of(rate: Rate, interval: tuple[float, float]) -> list[float]:
        return [rate.count, round(rate.total, 4), *(round(limit, 3) for limit in interval)]

    models = [
        {
            "points": [
                {
                    "t": point.threshold,
                    "missed": [of(missed, missed.wilson()) for missed in map(_missed, point.recall.values())],
                    "fired": [of(rate, rate.poisson()) for rate in point.false_accepts.values()],
                    "marks": places,
                }
                for point, places in zip(evaluation.curve, each, strict=True)
            ]
        }
        for evaluation, each in zip(evaluations, marks, strict=True)
    ]
    return json.dumps(models, separators=(",", ":")).replace("<", "\\u003c")


def _sources(evaluations: Sequence[Evaluation]) -> str:
    by_source = [each.by_source(each.model.threshold) for each in evaluations]
    rows = []
    for stream in evaluations[0].streams:
        hours = stream.hours_by_source()
        whole = [each.at(each.model.threshold).false_accepts[stream.name] for each in evaluations]
        rows.append(
            (f"<th>{escape(stream.name)} ({stream.hours:.2f} h)</th>", [f"<td>{_hourly(r)}</td>" for r in whole])
        )
        if len(hours) > 1:
            worst_first = sorted(hours, key=lambda source: -max(each[stream.name][source].value for each in by_source))
            rows += [
                (
                    f'<th class="inner">{escape(source)} ({hours[source]:.2f} h)</th>',
                    [f"<td>{_hourly(each[stream.name][source])}</td>" for each in by_source],
                )
                for source in worst_first
            ]
    if not rows:
        return ""
    table = _table(["false accepts an hour", *(escape(each.name) for each in evaluations)], rows)
    return f'<h2>By source</h2>\n<div class="card">{table}</div>'


def _steps(evaluations: Sequence[Evaluation]) -> str:
    counted = [each.steps for each in evaluations]
    if not all(counted):
        return ""
    titles = {
        "accuracy": "steps right",
        "constant": "… of a network that never fires",
        "precision": "precision",
        "recall": "recall",
        "f1": "F1",
    }
    rows = [
        (f"<th>{title}</th>", [f"<td>{getattr(steps, name) * 100:.1f} %</td>" for steps in counted])
        for name, title in titles.items()
    ]
    return (
        "<h2>Step by step</h2>\n<p>The reference assignment counts steps, not words: 50 ones after each word, "
        "posteriors above 0.5. For comparison with it alone: most steps are zeros, and a network that says nothing has "
        f'most of them right.</p>\n<div class="card">'
        f"{_table(['', *(escape(each.name) for each in evaluations)], rows)}</div>"
    )


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


def _worst(evaluation: Evaluation, number: int, budget: _Budget, *, alone: bool) -> str:
    threshold = evaluation.model.threshold
    title = "" if alone else f"{_key(number)}{escape(evaluation.name)}: "
    first, second = "words hardest to hear", "most like the word, and not it"
    if alone:
        first, second = first.capitalize(), second.capitalize()
    sections = []
    each = "Of each recording its worst condition; the band is the word."
    by_recording: dict[int, Trial] = {}
    for trial in sorted(evaluation.trials, key=lambda trial: (trial.hit(threshold) is not None, trial.peak)):
        by_recording.setdefault(id(trial.recording), trial)
    trials = list(by_recording.values())[:WORST]
    if trials:
        missed = sum(trial.hit(threshold) is None for trial in evaluation.trials)
        text = (
            f"{missed} of {len(evaluation.trials)} were missed."
            if missed
            else "None was missed; these were the closest."
        )
        cards = [_miss(trial, threshold, budget) for trial in trials]
        sections.append(f'<h2>{title}{first}</h2>\n<p class="soft">{text} {each}</p>{_grid(cards)}')
    highest = sorted((peak for stream in evaluation.streams for peak in peaks(stream)), key=lambda peak: -peak[0])[
        :WORST
    ]
    if highest:
        cards = [_accept(stream, sample, peak, threshold, budget) for peak, stream, sample in highest]
        sections.append(
            f'<h2>{title}{second}</h2>\n<p class="soft">Where the posterior was highest without '
            f"the word being said; what exceeds {threshold:g} is a false accept.</p>{_grid(cards)}"
        )
    return "\n".join(sections)


def _grid(cards: Sequence[str]) -> str:
    return f'<div class="grid3">{"".join(cards)}</div>'


def peaks(stream: Stream, count: int = WORST) -> list[tuple[float, Stream, int]]:
    """The highest smoothed posteriors at least a second apart: value, stream, sample."""
    second = SAMPLE_RATE // STEP
    left = np.array(stream.smoothed)
    found: list[tuple[float, Stream, int]] = []
    while len(found) < count and len(left):
        step = int(np.argmax(left))
        if left[step] <= 0:
            break
        found.append((float(left[step]), stream, sample_of(step)))
        left[max(0, step - second) : step + second + 1] = 0
    return found


def _miss(trial: Trial, threshold: float, budget: _Budget) -> str:
    heard = trial.hit(threshold) is not None
    first = max(0, trial.start - SAMPLE_RATE)
    last = min(trial.end + SAMPLE_RATE, first + 5 * SAMPLE_RATE)
    word = ((trial.start - first) / SAMPLE_RATE, (trial.word_end - first) / SAMPLE_RATE)
    verdict = f'<span class="verdict {"good" if heard else "bad"}">{"heard" if heard else "missed"}</span>'
    caption = f"{verdict} · {condition(trial.snr_db)} · highest {trial.peak:.3f}"
    name = "/".join(Path(trial.recording.path).parts[-2:])
    return _clip(trial.samples()[first:last], first, trial.smoothed, threshold, word, caption, name, budget)


def _accept(stream: Stream, sample: int, peak: float, threshold: float, budget: _Budget) -> str:
    number = stream.index(sample)
    recording, start = stream.recordings[number], stream.starts[number]
    first = max(start, sample - int(BEFORE_SECONDS * SAMPLE_RATE))
    last = min(start + len(recording.samples), sample + int(AFTER_SECONDS * SAMPLE_RATE))
    fired = peak > threshold
    verdict = f'<span class="verdict {"bad" if fired else "good"}">{"fired" if fired else "did not fire"}</span>'
    caption = f"{verdict} · {escape(stream.name)} · highest {peak:.3f}"
    name = f"{'/'.join(Path(recording.path).parts[-2:])}, {(sample - start) / SAMPLE_RATE:.1f} s"
    samples = recording.samples[first - start : max(first, last) - start]
    return _clip(samples, first, stream.smoothed, threshold, None, caption, name, budget)


def _clip(
    samples: Int16Array,
    first: int,
    smoothed: Any,
    threshold: float,
    word: tuple[float, float] | None,
    caption: str,
    name: str,
    budget: _Budget,
) -> str:
    seconds = max(len(samples) / SAMPLE_RATE, 0.1)
    steps = range(max(0, (first - sample_of(0)) // STEP), min(len(smoothed), (first + len(samples)) // STEP))
    # every second step: finer than a pixel
    posterior = [((sample_of(step) - first) / SAMPLE_RATE, float(smoothed[step])) for step in steps[::2]]
    posterior = [(round(second, 3), round(value, 3)) for second, value in posterior if 0 <= second <= seconds]
    seen = budget.embed(event(picture(samples), seconds, posterior, threshold, word)) if len(samples) else ""
    heard = budget.embed(f'<audio controls preload="none" src="{sound(samples)}"></audio>') if seen else ""
    return f'<figure class="card clip">{seen}<p class="name">{caption}<br>{escape(name)}</p>{heard}</figure>'
