"""A small raw_data folder of synthetic sounds: vowels for words, soft noise for backgrounds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import lfilter

from model.frontend import FloatArray

RATE = 16_000


def vowel(hertz: float, seconds: float, formants: tuple[float, ...], rate: int = RATE, peak: float = 0.4) -> FloatArray:
    """Pulses of this pitch through resonances of a bandwidth of 80 Hz."""
    phase = np.floor(np.arange(round(seconds * rate)) * hertz / rate)
    sound = lfilter([1], [1, -0.98], np.diff(phase, prepend=-1))
    for formant in formants:
        radius = np.exp(-np.pi * 80 / rate)
        sound = lfilter([1], [1, -2 * radius * np.cos(2 * np.pi * formant / rate), radius**2], sound)
    return (sound * (peak / np.abs(sound).max())).astype(np.float32)


def make_raw_data(folder: Path, words: int = 5, backgrounds: int = 2) -> Path:
    """So many positives and negatives of 0.4 to 0.7 s, and backgrounds of 10 and 13 s."""
    rng = np.random.default_rng(5)
    for kind, formants in (("activates", (700.0, 1200.0, 2600.0)), ("negatives", (300.0, 2200.0, 3000.0))):
        (folder / kind).mkdir(parents=True)
        for number in range(words):
            sound = vowel(float(rng.uniform(90, 220)), float(rng.uniform(0.4, 0.7)), formants)
            soundfile.write(folder / kind / f"{number}.wav", sound, RATE)
    (folder / "backgrounds").mkdir()
    for number in range(backgrounds):
        noise = rng.normal(0, 0.02, round((10 + 3 * number) * 44_100))
        soundfile.write(folder / "backgrounds" / f"{number}.flac", noise, 44_100)
    return folder
