"""A measured model in, its card out: a page of Markdown beside the file, for whoever is to use it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from training.measuring.evaluation import Evaluation
from training.measuring.text_tables import accepts, markdown, misses


def write_card(path: Path, evaluation: Evaluation, command: str, notes: Sequence[str], fa_per_hour: float) -> None:
    """Write the card. command: as typed; notes: half sentences about the data; fa_per_hour: what was wished."""
    model = evaluation.model
    point = evaluation.at(model.threshold)
    rows = [[f"missed: {name}", misses(rate)] for name, rate in point.recall.items()]
    rows += [
        [f"false accepts an hour: {name} ({rate.total:.2f} h)", accepts(rate)]
        for name, rate in point.false_accepts.items()
    ]
    latency = evaluation.latency(model.threshold)
    if latency:
        late = f"{latency.median:.2f}, {latency.percentile90:.2f}"
        rows.append(["seconds after the word's end: median, 90th percentile", late])
    training = model.training
    lines = [
        f"# {model.word}",
        "",
        f"Threshold {model.threshold:g}, smoothing {model.smoothing} steps, suppression {model.suppression} steps.",
        "",
        "## What it was trained on",
        "",
        *(f"- {note}" for note in notes),
        "",
        "Of each, 70 % by speaker or file were trained on, 15 % chose the threshold, 15 % gave the figures below.",
        "",
        "## How",
        "",
        "```sh",
        command or "chimed-train word",
        "```",
        "",
        f"{training['epochs_done']} epochs, {training['hours_heard']} hours of scenes, chimed {training['code']}.",
        "The file's metadata hold every folder, seed and range.",
        "",
        "## How good it is",
        "",
        "On recordings that neither the training nor the choice of the threshold saw; in brackets the 95 % interval.",
        "The threshold is the lowest that gave no more than",
        f"{fa_per_hour:g} false accepts an hour on the development split, where there is one.",
        "",
        markdown(["what", "measured"], rows) if rows else "No recording was left for a test.",
        "",
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
