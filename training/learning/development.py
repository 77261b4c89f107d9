"""How good a network is while it is trained: words heard and false accepts on the development recordings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from model.modelfile import Model
from training.corpora.corpus import Corpus
from training.measuring.evaluation import THRESHOLDS, FalseAccepts, Recall
from training.scenes.material import SceneMaterial


def measure(model: Model, material: SceneMaterial, limit: int = 100) -> dict[str, Any]:
    """False accepts and recall on one split, by threshold; of each folder of words, `limit` at most."""
    recalls = {}
    for folder, clips in material.by_folder["positives"].items():
        words = list(_samples(material.positives, clips[:limit]))
        for title, snr in (("quiet", None), ("10 dB", 10.0)):
            recalls[f"{folder}, {title}"] = Recall(model, words, snr_db=snr)
    speech = FalseAccepts(model, _samples(material.speech, material.clips["speech"]))
    noise = FalseAccepts(model, _samples(material.noise, material.clips["noise"]))
    return {
        "thresholds": THRESHOLDS,
        "recall": {
            name: [round(recall.at(threshold).value, 3) for threshold in THRESHOLDS] for name, recall in recalls.items()
        },
        "speech_fa_per_hour": [round(speech.at(threshold).value, 2) for threshold in THRESHOLDS],
        "noise_fa_per_hour": [round(noise.at(threshold).value, 2) for threshold in THRESHOLDS],
        "speech_hours": round(speech.hours, 3),
        "noise_hours": round(noise.hours, 3),
    }


def _samples(corpus: Corpus, clips: list[Any]) -> Iterator[Any]:
    for clip in clips:
        yield corpus[clip]
