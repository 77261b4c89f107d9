"""Turn samples into what a page shows and plays without any other file: a spectrogram, and FLAC as a data URI."""

from __future__ import annotations

import base64
import io

import numpy as np
import soundfile
import soxr

from model.frontend import BINS_BELOW_8_KHZ, SAMPLE_RATE, FloatArray, spectrogram
from training.dsp.decode import Int16Array

PLAYED_RATE = 16_000  # Hz; the network hears nothing above 8 kHz
_POOLED = 4  # columns to a pixel


def spectrogram_db(samples: Int16Array) -> FloatArray:
    """(bins below 8 kHz, pixels) decibels, as loud as the loudest column of each pixel."""
    columns = 10 * np.log10(spectrogram(samples)[:BINS_BELOW_8_KHZ] + 1e-3)
    whole = columns.shape[1] // _POOLED * _POOLED
    pooled: FloatArray = columns[:, :whole].reshape(len(columns), -1, _POOLED).max(axis=2)
    return pooled


def sound(samples: Int16Array) -> str:
    """The samples as the data URI of a FLAC file that browsers play, as loud as it gets without clipping."""
    played = soxr.resample(samples.astype(np.float32), SAMPLE_RATE, PLAYED_RATE)
    played = played / max(1.0, float(np.abs(played).max(initial=1.0))) * 0.9
    file = io.BytesIO()
    soundfile.write(file, played, PLAYED_RATE, format="FLAC", subtype="PCM_16")
    return f"data:audio/flac;base64,{base64.b64encode(file.getvalue()).decode()}"
