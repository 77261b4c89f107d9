"""A model is one .npz file: the weights and a JSON object that says what they are.

The metadata name the word, the front end, the threshold and how all of it came to be. Nothing in the file
is ever executed: pickled arrays are refused, as is every shape or front end other than those expected.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import textwrap
import zipfile
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model.frontend import FrontEnd
from model.gate import SMOOTHING, SUPPRESSION, Gate
from model.network import Weights

FORMAT = 1
WORDS = Path(__file__).parent / "words"
MAX_BYTES = 16_000_000  # a model has 1.3 to 2.1 MB; nothing much larger is one
ZIP_MAGIC = b"PK\x03\x04"

_KINDS = {str: "a text", int: "a whole number", float: "a number", dict: "an object"}  # the words of JSON


class ModelFileError(ValueError):
    """A model file was refused; the message names the file and the reason in one sentence."""


@dataclass(frozen=True)
class Model:
    """A word and what recognises it.

    threshold, smoothing (steps) and suppression (steps) are those of `model.gate.Gate`; `training` says how
    the weights came to be (data, recipe, seed, code version), `measured` what was measured of them. Its "points", if
    any, say what other thresholds give, as rows of [threshold, share of words missed (null: not measured), false
    accepts an hour of the kind of sound in which it fires most often (null: not measured)], by rising threshold.
    """

    word: str
    weights: Weights
    front_end: FrontEnd
    threshold: float
    smoothing: int = SMOOTHING
    suppression: int = SUPPRESSION
    training: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.word.strip():
            raise ValueError("it names no word")
        if not self.word.isprintable():
            raise ValueError("its word holds characters that cannot be printed")
        if self.weights.bins != self.front_end.bins:
            raise ValueError(f"the network reads {self.weights.bins} bins, the front end gives {self.front_end.bins}")
        Gate(self.threshold, self.smoothing, self.suppression)  # checks the ranges

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that tell these weights from others."""
        digest = hashlib.sha256()
        for name, array in sorted(self.weights.as_dict().items()):
            digest.update(name.encode() + array.tobytes())
        return digest.hexdigest()[:16]


def save(path: str | os.PathLike[str], model: Model) -> None:
    """Write the model file; an existing one is replaced only when the new one is complete."""
    metadata = {
        "format": FORMAT,
        "word": model.word,
        "front_end": model.front_end.as_dict(),
        "threshold": model.threshold,
        "smoothing": model.smoothing,
        "suppression": model.suppression,
        "training": model.training,
        "measured": model.measured,
    }
    text = json.dumps(metadata, indent=1, ensure_ascii=False)
    arrays: dict[str, Any] = {
        "metadata": np.frombuffer(text.encode(), np.uint8),
        **model.weights.as_dict(),
    }
    path = Path(path)
    temporary = path.with_name(path.name + ".part")
    try:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: str | os.PathLike[str]) -> Model:
    """Read a model file. Raises ModelFileError, with the file and the reason, for whatever is not one."""
    path = Path(path)
    try:
        return _build(_read_arrays(path))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelFileError(f"{path}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    text = str(error)
    if isinstance(error, OSError):
        text = error.strerror or text
    elif isinstance(error, KeyError):  # its text is the key in quotes
        text = f"it lacks {error}"
    # what stands in a damaged file may be long and hold line breaks
    return textwrap.shorten(text, 160, placeholder=" ...")


def _read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        raise ValueError("it is not a regular file")
    if status.st_size > MAX_BYTES:
        raise ValueError("far too large for a model")
    with path.open("rb") as file:
        if file.read(len(ZIP_MAGIC)) != ZIP_MAGIC or not zipfile.is_zipfile(file):
            raise ValueError("not a model file (.npz), or cut short")
    try:
        with zipfile.ZipFile(path) as archive:
            # a small file can unpack into a large one
            unpacked = sum(entry.file_size for entry in archive.infolist())
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files} if unpacked <= MAX_BYTES else None
    except Exception as error:  # zlib.error, EOFError, MemoryError: whatever a damaged archive gives
        if "pickle" in str(error).lower():
            raise ValueError("it holds pickled objects, which could run code, and a model needs none") from error
        raise ValueError(f"damaged ({error})") from error
    if arrays is None:
        raise ValueError("far too large for a model")
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # numpy hands out what is no array as bytes
            raise ValueError(f"{name!r} is not an array")
    return arrays


def _build(arrays: dict[str, npt.NDArray[Any]]) -> Model:
    try:
        metadata = json.loads(arrays["metadata"].tobytes())
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError("its metadata are not JSON") from error
    if not isinstance(metadata, dict):
        raise ValueError("its metadata are not a JSON object")
    if _typed(metadata, "format", int) != FORMAT:
        raise ValueError(f"format {metadata['format']}, but this chimed reads format {FORMAT}")
    front_end = _typed(metadata, "front_end", dict)
    if set(front_end) != {field.name for field in fields(FrontEnd)}:
        raise ValueError("its front end is not one that this chimed knows")
    return Model(
        word=_typed(metadata, "word", str),
        weights=Weights(**{field.name: arrays[field.name] for field in fields(Weights)}),
        front_end=FrontEnd(
            scaling=_typed(front_end, "scaling", str),
            **{name: _typed(front_end, name, int) for name in front_end if name != "scaling"},
        ),
        threshold=_typed(metadata, "threshold", float),
        smoothing=_typed(metadata, "smoothing", int),
        suppression=_typed(metadata, "suppression", int),
        training=_typed(metadata, "training", dict),
        measured=_typed(metadata, "measured", dict),
    )


def _typed(metadata: dict[str, Any], name: str, kind: type) -> Any:
    value = metadata[name]
    # JSON writes 0.0 as 0 at times, and Python counts True as 1
    if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else kind):
        raise ValueError(f"its {name} is {str(value)[:40]!r}, not {_KINDS[kind]}")
    return value


def shipped() -> dict[str, Path]:
    """The models that come with chimed: word -> file."""
    return {path.stem: path for path in sorted(WORDS.glob("*.npz"))}
