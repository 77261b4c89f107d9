"""Kokoro's voices: a text, a voice and a pace in, natural speech out.

Kokoro-82M is an open model (Apache-2.0) with some fifty voices. A voice of it is a vector, one half of which is the
timbre and the other the manner of speaking (StyleTTS 2; Li et al., NeurIPS 2023), so two voices make others: the mean
of both, or the timbre of one with the manner of the other. Each says English with the accents that espeak-ng knows.

It runs in this process, on ONNX Runtime, since to load the model takes longer than to say a word.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from model.extras import install
from model.frontend import FloatArray
from training.utils.errors import TrainingError

KOKORO_RATE = 24_000  # Hz
KOKORO = "KOKORO"  # the environment variable that names the folder
_ACCENTS = ("en-us", "en-gb", "en-us-nyc", "en-gb-x-rp", "en-gb-scotland", "en-us", "en-gb-x-gbclan", "en-029")
_MEAN, _TIMBRE = "+", "/"  # between the names of two voices
# whom a voice is paired with: those so many places further in the sorted list, in which like voices stand together
_PARTNERS = {_MEAN: (1, 5, 11, 17), _TIMBRE: (3, 7, 13, 23)}
_HALF = 128  # numbers of a voice: so many are the timbre, as many the manner
_MELODIES = ("", ",", ".", "!", "?")  # each ends on another tone
# the number of each is its place, by the model's own config.json; _ stands for none
_SYMBOLS = (
    '_;:,.!?__—…"()“” ̃ʣʥʦʨᵝꭧAI_____O_Q_ST__W_Yᵊabcdef_hijklmnopq'
    "rstuvwxyzɑɐɒæ__βɔɕç_ɖðʤə_ɚɛɜ__ɟ_ɡ______ɥ_ɨɪʝ______ɯɰŋɳɲɴø_ɸθ"  # noqa: RUF001 - IPA
    "œ__ɹ_ɾɻ_ʁɽʂʃʈʧ_ʊʋ_ʌɣɤ_χʎ___ʒʔ_______ˈˌː___ʰ_ʲ____↓_→↗↘___ᵻ"
)
_loading = threading.Lock()  # or each of the threads that `speak` starts would load the model
_LONGEST = 500  # phonemes; the model takes 510 with what stands around them
# what of espeak-ng's is not among them, and what stands for it
_SPELLED = str.maketrans({"ʲ": "j", "r": "ɹ", "x": "k", "ɬ": "l"})


def voices(folder: Path) -> Iterator[str]:
    """The names of all voices, the model's own first: the folder's path, #, who speaks, @, the accent.

    folder: holds the model (`kokoro*.onnx`) and its voices (`voices*.bin`), as kokoro-onnx publishes them.
    Raises TrainingError if either is missing, or ONNX Runtime is not installed.
    """
    _, styles = _files(folder)
    if find_spec("onnxruntime") is None:
        raise TrainingError(f"Kokoro's voices in {folder} need the package onnxruntime: {install('kokoro')}")
    own = sorted(_styles(styles))
    pairs = [
        sign.join(sorted(pair) if sign == _MEAN else pair)
        for sign, steps in _PARTNERS.items()
        for step in steps
        for pair in zip(own, own[step % len(own) :] + own[: step % len(own)], strict=True)
        if pair[0] != pair[1]
    ]
    for name in own:  # theirs are called af_..., am_... (American) and bf_..., bm_... (British)
        yield f"{folder}#{name}@{'en-gb' if name.startswith('b') else 'en-us'}"
    for number, name in enumerate(dict.fromkeys(pairs)):
        yield f"{folder}#{name}@{_ACCENTS[number % len(_ACCENTS)]}"


def is_own(name: str) -> bool:
    """Whether it is a voice of the model's own, and not made of two."""
    return not any(sign in name.rpartition("#")[2] for sign in _PARTNERS)


def say(name: str, text: str, rate: float, melody: float) -> tuple[FloatArray, int]:
    """Samples (-1 to 1) of the text by this voice, with silence around them, and their rate in Hz.

    name: as `voices` gives it; rate: factor on the voice's own; melody: -1 to 1, which of five ways to end.
    """
    folder, _, rest = name.rpartition("#")
    who, _, accent = rest.partition("@")
    model, styles = _files(Path(folder))
    ending = _MELODIES[min(int((melody + 1) / 2 * len(_MELODIES)), len(_MELODIES) - 1)]
    said = phonemes(text, accent) + ending
    tokens = [number for symbol in said if (number := _SYMBOLS.find(symbol)) > 0][:_LONGEST]
    with _loading:
        session = _session(model)
    values = np.array([[0, *tokens, 0]]), _style(styles, who, len(tokens)), np.array([rate], np.float32)
    inputs = {entry.name: value for entry, value in zip(session.get_inputs(), values, strict=True)}
    samples = np.asarray(session.run(None, inputs)[0], np.float32).ravel()
    # the louder voices exceed full scale at times
    return samples / np.float32(max(1.0, np.abs(samples).max(initial=0.0))), KOKORO_RATE


@cache
def phonemes(text: str, accent: str) -> str:
    """The text in the model's phonemes, as espeak-ng says it. Raises TrainingError if it does not say it."""
    command = ["espeak-ng", "-q", "--ipa", "-v", accent, "--", text]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    said = " ".join(answer.stdout.split()).translate(_SPELLED)
    if answer.returncode or not said:
        raise TrainingError(f"espeak-ng does not say how {text!r} is pronounced")
    return said


@cache
def _files(folder: Path) -> tuple[Path, Path]:
    found = []
    for pattern in ("kokoro*.onnx", "voices*.bin"):
        paths = sorted(folder.glob(pattern))
        if not paths:
            raise TrainingError(f"{folder} holds no {pattern}: Kokoro's model and its voices belong there")
        found.append(paths[-1])  # without ".int8" in its name, where both are there
    return found[0], found[1]


@cache
def _styles(path: Path) -> dict[str, FloatArray]:
    """Each voice: (510, 1, 256), a row for each number of phonemes."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path}: not the voices of Kokoro ({error})") from error


def _style(path: Path, who: str, length: int) -> FloatArray:
    """(1, 256) of a voice for so many phonemes."""

    def row(name: str) -> FloatArray:
        return np.asarray(_styles(path)[name][length - 1], np.float32)

    if _MEAN in who:
        one, other = map(row, who.split(_MEAN))
        return (one + other) / np.float32(2)
    if _TIMBRE in who:
        timbre, manner = map(row, who.split(_TIMBRE))
        return np.concatenate((timbre[:, :_HALF], manner[:, _HALF:]), axis=1)
    return row(who)


@cache
def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # `speak` says as many texts at once as there are cores
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own classes share no base but this one
        raise TrainingError(f"{path}: not the model of Kokoro ({error})") from error
