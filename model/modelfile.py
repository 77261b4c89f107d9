"""A model is one .npz file: the weights and a JSON object that says what they are.

The metadata name the word, the front end, the threshold and how all of it came to be. Nothing in the file
is ever executed: pickled arrays are refused, as is every shape or front end other than those expected.
"""

from __future__ import annotations

import json
import os
import zipfile
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from model.frontend import FloatArray, FrontEnd
from model.gate import SMOOTHING, SUPPRESSION, Gate
from model.network import Weights

FORMAT = 1
WORDS = Path(__file__).parent / "words"
MAX_BYTES = 16_000_000  # a model has 1.3 to 2.1 MB; nothing much larger is one


class ModelFileError(ValueError):
    """A model file was refused; the message names the file and the reason in one sentence."""


@dataclass(frozen=True)
class Model:
    """A word and what recognises it.

    threshold, smoothing (steps) and suppression (steps) are those of `model.gate.Gate`; `training` says how
    the weights came to be (data, recipe, seed, code version), `measured` what was measured of them.
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
        if not isinstance(self.word, str) or not self.word.strip():
            raise ValueError("it names no word")
        if self.weights.bins != self.front_end.bins:
            raise ValueError(f"the network reads {self.weights.bins} bins, the front end gives {self.front_end.bins}")
        Gate(self.threshold, self.smoothing, self.suppression)  # checks the ranges


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
            np.savez_compressed(file, allow_pickle=False, **arrays)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def load(path: str | os.PathLike[str]) -> Model:
    """Read a model file. Raises ModelFileError, with the file and the reason, for whatever is not one."""
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelFileError(f"{path}: far too large for a model")
        arrays = _read_arrays(path)
        return _build(arrays)
    except ModelFileError:
        raise
    except OSError as error:
        raise ModelFileError(f"{path}: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError) as error:
        # KeyError's text is the key in quotes
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ModelFileError(f"{path}: {reason}") from error


def _read_arrays(path: Path) -> dict[str, FloatArray]:
    if not zipfile.is_zipfile(path):
        raise ValueError("not a model file (.npz), or cut short")
    try:
        with zipfile.ZipFile(path) as archive:
            # a small file can unpack into a large one
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                raise ValueError("far too large for a model")
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except zipfile.BadZipFile as error:
        raise ValueError(f"damaged ({error})") from error
    except ValueError as error:
        if "pickle" in str(error).lower():
            raise ValueError("it holds pickled objects, which could run code, and a model needs none") from error
        raise
    except Exception as error:  # zlib.error, EOFError, struct.error: whatever a damaged archive gives
        raise ValueError(f"damaged ({error})") from error


def _build(arrays: dict[str, Any]) -> Model:
    try:
        metadata = json.loads(arrays["metadata"].tobytes())
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError("its metadata are not JSON") from error
    if not isinstance(metadata, dict):
        raise ValueError("its metadata are not a JSON object")
    if metadata.get("format") != FORMAT:
        raise ValueError(f"format {metadata.get('format')!r}, but this chimed reads format {FORMAT}")
    front_end = metadata["front_end"]
    known = {field.name for field in fields(FrontEnd)}
    if not isinstance(front_end, dict) or set(front_end) != known:
        raise ValueError("its front end is not one that this chimed knows")
    return Model(
        word=metadata["word"],
        weights=Weights(**{field.name: arrays[field.name] for field in fields(Weights)}),
        front_end=FrontEnd(**front_end),
        threshold=metadata["threshold"],
        smoothing=metadata["smoothing"],
        suppression=metadata["suppression"],
        training=metadata.get("training", {}),
        measured=metadata.get("measured", {}),
    )


def shipped() -> dict[str, Path]:
    """The models that come with chimed: word -> file."""
    return {path.stem: path for path in sorted(WORDS.glob("*.npz"))}
