"""Samples in, what a web page can show and play without any other file out: PNG and FLAC as data URIs."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from functools import cache

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from model.frontend import BINS_BELOW_8_KHZ, SAMPLE_RATE, spectrogram
from training.dsp.decode import Int16Array

RANGE_DB = 70.0  # below the loudest: black
PLAYED_RATE = 16_000  # Hz; the network hears nothing above 8 kHz
_POOLED = 4  # columns to a pixel

# black to violet to orange to pale yellow, each lighter than the one before, so that it reads in grey too
_COLOURS = ((0, 0, 4), (29, 17, 71), (81, 18, 124), (183, 55, 121), (252, 137, 97), (252, 253, 191))


def picture(samples: Int16Array) -> str:
    """The spectrogram below 8 kHz as the data URI of a PNG, low frequencies at the bottom."""
    columns = 10 * np.log10(spectrogram(samples)[:BINS_BELOW_8_KHZ] + 1e-3)
    whole = columns.shape[1] // _POOLED * _POOLED
    pooled = columns[:, :whole].reshape(len(columns), -1, _POOLED).max(axis=2)
    shade = np.clip((pooled - pooled.max(initial=0.0)) / RANGE_DB + 1, 0, 1)
    return _uri("image/png", png(np.round(shade[::-1] * 255).astype(np.uint8)))


def sound(samples: Int16Array) -> str:
    """The samples as the data URI of a FLAC file that browsers play, as loud as it gets without clipping."""
    played = soxr.resample(samples.astype(np.float32), SAMPLE_RATE, PLAYED_RATE)
    played = played / max(1.0, float(np.abs(played).max(initial=1.0))) * 0.9
    file = io.BytesIO()
    soundfile.write(file, played, PLAYED_RATE, format="FLAC", subtype="PCM_16")
    return _uri("audio/flac", file.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def png(shades: npt.NDArray[np.uint8]) -> bytes:
    """(rows, columns) shades as a PNG file, coloured by a palette."""
    height, width = shades.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), shades], axis=1)  # 0: a line without a filter

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = [chunk(b"IHDR", header), chunk(b"PLTE", _palette()), chunk(b"IDAT", zlib.compress(lines.tobytes(), 9))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")


@cache
def _palette() -> bytes:
    places = np.linspace(0, 255, len(_COLOURS))
    colours = np.array(_COLOURS, float)
    mixed = [np.interp(np.arange(256), places, colours[:, part]) for part in range(3)]
    return np.round(np.stack(mixed, axis=1)).astype(np.uint8).tobytes()
