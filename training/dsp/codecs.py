"""Samples in, the same as they sound after a codec out: as long, and nothing moved in time.

The codecs are those of libsndfile, in memory: mu-law, A-law and GSM 06.10 at 8 kHz, Opus at 16 kHz, MP3 at 22 kHz.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import soundfile
import soxr

from model.frontend import FULL_SCALE, SAMPLE_RATE
from training.dsp.decode import Int16Array, to_int16

CODECS = ("mulaw", "alaw", "gsm", "opus", "mp3")
_TELEPHONE = {"mulaw": "ULAW", "alaw": "ALAW", "gsm": "GSM610"}
_MP3_DELAY = 1105  # samples that come before the sound where the bit rate is too low for a note of how many


def through(samples: Int16Array, kind: str, kbps: float = 0.0) -> Int16Array:
    """The samples after one of CODECS; kbps: bit rate of Opus (6 to 256) and MP3 (16 to 160), in kbit/s.

    samples: (n,) at 44.1 kHz. Deterministic: the same samples give the same.
    """
    options: dict[str, Any]
    if kind in _TELEPHONE:
        rate, options = 8_000, {"format": "WAV", "subtype": _TELEPHONE[kind]}
    elif kind == "opus":
        # libsndfile has one setting from 0 to 1 for all codecs; these are its own formulas for the bit rate
        rate, options = 16_000, {"format": "OGG", "subtype": "OPUS", "compression_level": 1 - (kbps - 6) / 250}
    else:
        level = 1 - (kbps - 8) / 152
        rate, options = 22_050, {"format": "MP3", "compression_level": level, "bitrate_mode": "CONSTANT"}
    sent = soxr.resample(samples / np.float32(FULL_SCALE), SAMPLE_RATE, rate)
    with io.BytesIO() as file:
        soundfile.write(file, sent, rate, **options)
        file.seek(0)
        heard, _ = soundfile.read(file, dtype="float32")
    if kind == "mp3" and len(heard) > len(sent):
        heard = heard[_MP3_DELAY:]
    back = soxr.resample(heard, rate, SAMPLE_RATE)[: len(samples)]
    return to_int16(np.pad(back, (0, len(samples) - len(back))) * FULL_SCALE)
