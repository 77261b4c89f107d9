"""Evaluations in, tables out: as a terminal and a Markdown document show them alike."""

from __future__ import annotations

from collections.abc import Sequence

from training.measuring.confidence_intervals import Rate
from training.measuring.evaluation import THRESHOLDS, Evaluation

WISHES = (0.5, 1.0, 2.0, 5.0)  # false accepts an hour at which models are compared


def misses(rate: Rate) -> str:
    """Of a rate of words heard: the share missed, its interval and the counts."""
    missed = Rate(int(rate.total) - rate.count, rate.total)
    low, high = missed.wilson()
    return f"{missed.value:.1%} [{low:.0%}-{high:.0%}] ({missed.count} of {missed.total:g})"


def accepts(rate: Rate) -> str:
    """An hourly rate, its interval and the count."""
    low, high = rate.poisson()
    return f"{rate.value:.2f} [{low:.1f}-{high:.1f}] ({rate.count})"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose columns stand below each other."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines]
    padded.insert(1, ["-" * width for width in widths])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in padded)


def compare(evaluations: Sequence[Evaluation]) -> str:
    """One row a figure, one column a model: each at its own threshold, then all at the same false accepts."""
    points = [each.at(each.model.threshold) for each in evaluations]
    rows = [["threshold", *(f"{point.threshold:g}" for point in points)]]
    rows += [[f"missed: {name}", *(misses(point.recall[name]) for point in points)] for name in points[0].recall]
    sources = [each.by_source(each.model.threshold) for each in evaluations]
    for stream in evaluations[0].streams:
        title = f"FA/h: {stream.name} ({stream.hours:.2f} h)"
        rows.append([title, *(accepts(point.false_accepts[stream.name]) for point in points)])
        hours = stream.hours_by_source()
        if len(hours) > 1:
            rows += [
                [f"- {source} ({hours[source]:.2f} h)", *(accepts(each[stream.name][source]) for each in sources)]
                for source in hours
            ]
    rows.append(["seconds after the word's end: median, 90th percentile", *map(_latency, evaluations)])
    if evaluations[0].trials and evaluations[0].streams:
        for wish in WISHES:
            rows.append([f"missed, at {wish:g} FA/h", *(_missed_at(each, wish) for each in evaluations)])
    rows += _steps(evaluations)
    return markdown(["", *(each.name for each in evaluations)], rows)


def _latency(evaluation: Evaluation) -> str:
    latency = evaluation.latency(evaluation.model.threshold)
    return f"{latency.median:.2f}, {latency.percentile90:.2f} ({latency.count})" if latency else "-"


def _missed_at(evaluation: Evaluation, wish: float) -> str:
    point = evaluation.misses_at(wish)
    if point is None:
        return "never so seldom"
    low, high = point.misses.wilson()
    return f"{point.misses.value:.1%} [{low:.0%}-{high:.0%}] (threshold {point.threshold:g})"


def _steps(evaluations: Sequence[Evaluation]) -> list[list[str]]:
    counted = [each.steps for each in evaluations]
    titles = {
        "accuracy": "steps right at 0.5",
        "constant": "- by a network that says nothing",
        "precision": "step precision",
        "recall": "step recall",
        "f1": "step F1",
    }
    return [
        [title, *(f"{getattr(steps, name):.1%}" for steps in counted if steps)]
        for name, title in titles.items()
        if all(counted)
    ]


def table(evaluation: Evaluation, thresholds: Sequence[float] = THRESHOLDS) -> str:
    """One row a threshold, each figure with its 95 % interval."""
    points = [evaluation.at(threshold) for threshold in thresholds]
    header = ["threshold", *(f"missed: {name}" for name in points[0].recall)]
    header += [f"FA/h: {name} ({rate.total:.2f} h)" for name, rate in points[0].false_accepts.items()]
    rows = [
        [
            f"{point.threshold:g}",
            *(misses(rate) for rate in point.recall.values()),
            *(accepts(rate) for rate in point.false_accepts.values()),
        ]
        for point in points
    ]
    return markdown(header, rows)
