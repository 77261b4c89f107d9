"""Makes the recording for tests and demonstration: tests/data/activate-demo.flac and, beside it, what is said when.

Several synthetic voices (espeak-ng) in a quiet room say "activate" three times, words that sound like it, and
ordinary sentences. Nobody's own voice is in it. The same espeak-ng gives the same recording:

    python -m tests.make.demo
"""

from __future__ import annotations

import json
import subprocess
import tempfile

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from tests.support.paths import DATA

SAMPLE_RATE = 44_100
SEED = 1
WORD = "activate"
OUTPUT = DATA / "activate-demo.flac"

# voice, words per minute, level in dBFS (loudest 10 ms), text, pause after it in seconds
SCRIPT = [
    ("en-us", 160, -12, "It was a quiet evening at home.", 0.8),
    ("en-gb+f3", 150, -14, WORD, 0.7),
    ("en-gb+f3", 160, -14, "Turn on the light, please.", 0.9),
    ("en-us+m3", 165, -12, "She stays active.", 0.6),
    ("en-us+m3", 145, -12, WORD, 0.9),
    ("en-gb-scotland", 155, -18, "That activity will delight the children.", 0.9),
    ("en-us+f2", 160, -15, WORD, 0.8),
    ("en-us", 165, -13, "And what is for dinner tonight?", 0.9),
]
NOISE_DB = -66  # dBFS, RMS
ECHO_SECONDS, ECHO_DB = 0.25, -22  # the room: decay time and loudness of its echo

FloatArray = npt.NDArray[np.float64]


def speak(voice: str, words_per_minute: int, text: str) -> FloatArray:
    """The text without the silence around it, at 44.1 kHz, full scale 1."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        command = ["espeak-ng", "-v", voice, "-s", str(words_per_minute), "-w", file.name, "--", text]
        subprocess.run(command, check=True, timeout=60)
        samples, rate = soundfile.read(file.name)
    samples = soxr.resample(samples, rate, SAMPLE_RATE)
    audible = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    return samples[audible[0] : audible[-1] + 1]


def loudest(samples: FloatArray) -> float:
    """RMS of the loudest 10 ms."""
    windows = samples[: len(samples) // 441 * 441].reshape(-1, 441)
    return float(np.sqrt(np.square(windows).mean(axis=1).max()))


def room(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The sound, its decaying echo, and the noise of a quiet room."""
    count = int(ECHO_SECONDS * SAMPLE_RATE)
    echo = rng.normal(0, 1, count) * np.exp(np.linspace(0, -7, count))
    echo *= 10 ** (ECHO_DB / 20) / np.sqrt(np.square(echo).sum())
    size = len(samples) + count
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(echo, size), size)[: len(samples)]
    noise = np.fft.rfft(rng.normal(0, 1, len(samples)))
    frequency = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    noise *= (frequency > 100) / np.maximum(frequency, 100) ** 0.5  # pink, without rumble
    hiss = np.fft.irfft(noise, len(samples))
    hiss *= 10 ** (NOISE_DB / 20) / np.sqrt(np.square(hiss).mean())
    return samples + wet + hiss


def main() -> None:
    """Write the recording and its description."""
    rng = np.random.default_rng(SEED)
    parts, said, position = [np.zeros(SAMPLE_RATE)], [], SAMPLE_RATE
    for voice, words_per_minute, level, text, pause in SCRIPT:
        samples = speak(voice, words_per_minute, text)
        end = position + len(samples)
        said.append(
            {
                "text": text,
                "voice": voice,
                "start": round(position / SAMPLE_RATE, 3),
                "end": round(end / SAMPLE_RATE, 3),
            }
        )
        silence = np.zeros(int(pause * SAMPLE_RATE))
        parts += [samples * 10 ** (level / 20) / loudest(samples), silence]
        position = end + len(silence)
    samples = room(np.concatenate(parts), rng)
    OUTPUT.parent.mkdir(exist_ok=True)
    soundfile.write(OUTPUT, np.round(samples * 32_767).clip(-32_768, 32_767).astype(np.int16), SAMPLE_RATE)
    description = {
        "file": OUTPUT.name,
        "word": WORD,
        "seconds": round(len(samples) / SAMPLE_RATE, 3),
        "word_ends_at_seconds": [utterance["end"] for utterance in said if utterance["text"] == WORD],
        "said": said,
    }
    OUTPUT.with_suffix(".json").write_text(json.dumps(description, indent=1) + "\n")


if __name__ == "__main__":
    main()
