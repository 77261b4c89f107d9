"""A recipe file in, what an example is made of out: every range in physical units, each checked with its line.

A range is ``[low, high]``, from which each example or clip draws uniformly, or one number, which is then fixed.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from model import yaml_reader
from model.yaml_reader import Value, suggest
from training.dsp.codecs import CODECS
from training.utils.errors import TrainingError

Range = tuple[float, float]
FOLDER = Path(__file__).parent / "recipes"


@dataclass(frozen=True)
class Background:
    """How loud the background is: by a change of its own level, or by the distance from the voices' level.

    gain_db: change of its level in dB, the voices stay as they were recorded. snr_db: the voices' level against
    the background's in dB; then voices are brought to one level, each `voice_db` above it.
    """

    gain_db: Range | None = None
    snr_db: Range | None = None
    voice_db: Range | None = None


@dataclass(frozen=True)
class VoiceRange:
    """A change of each clip's voice, each of the three alone. share: of the clips, 0 to 1."""

    share: float
    speed: Range  # times as fast; pitch and formants stay
    pitch_semitones: Range
    formants: Range  # factor on the formants' frequencies: above 1 a shorter vocal tract


@dataclass(frozen=True)
class Room:
    """A synthetic room around the voices. share: of the examples."""

    share: float
    rt60_seconds: Range  # time in which the reverberation decays by 60 dB
    direct_db: Range  # direct sound against reverberation


@dataclass(frozen=True)
class Equaliser:
    """A random microphone. share: of the examples."""

    share: float
    spread_db: Range  # standard deviation of the gain, about every octave


@dataclass(frozen=True)
class Band:
    """Limits of the band. share: of the examples; the corners in Hz."""

    share: float
    high_pass_hz: Range
    low_pass_hz: Range


@dataclass(frozen=True)
class Codec:
    """What a telephone or a recorder does. share: of the examples."""

    share: float
    kinds: tuple[str, ...]
    opus_kbps: Range
    mp3_kbps: Range


@dataclass(frozen=True)
class ExampleRecipe:
    """How an example of 10 s is made. A part that is None is left out.

    positives, negatives: fewest and most clips that are tried; excerpt_seconds: longest piece of a long negative;
    level_dbfs: of the finished example.
    """

    positives: tuple[int, int]
    negatives: tuple[int, int]
    background: Background
    level_dbfs: Range
    excerpt_seconds: Range | None = None
    voice: VoiceRange | None = None
    room: Room | None = None
    equaliser: Equaliser | None = None
    band: Band | None = None
    codec: Codec | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON and YAML, without what is left out; `read` of it gives the same recipe."""
        parts = {name: value for name, value in asdict(self).items() if value is not None}
        parts["background"] = {name: value for name, value in parts["background"].items() if value is not None}
        plain: dict[str, Any] = json.loads(json.dumps(parts))
        return plain

    @classmethod
    def from_dict(cls, parts: dict[str, Any], source: str) -> ExampleRecipe:
        """What `as_dict` gave. Raises TrainingError."""
        return read(parse(yaml.safe_dump(parts), Path(source)))

    @property
    def slowest(self) -> float:
        """The lowest speed at which a clip may be played."""
        return min(1.0, self.voice.speed[0]) if self.voice else 1.0


def names() -> list[str]:
    """The recipes that come with chimed."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(recipe: str) -> ExampleRecipe:
    """One of chimed's own recipes by name, or any other by its file, which ends in .yaml or .yml.

    Raises TrainingError: an unknown name, a file that cannot be read, or what is wrong with it and in which line.
    """
    path = Path(recipe) if recipe.endswith((".yaml", ".yml")) else FOLDER / f"{recipe}.yaml"
    if path.parent == FOLDER and path.stem not in names():
        raise TrainingError(f"there is no recipe {recipe!r}; {suggest(recipe, names())} (or give a .yaml file)")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise TrainingError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise TrainingError(f"{path}: this is not UTF-8 text") from error
    return read(parse(text, path))


def parse(text: str, path: Path) -> Value:
    """The YAML of a recipe. Raises TrainingError, and so does all that reads it."""
    return yaml_reader.parse(text, path, partial(Value, error=TrainingError), TrainingError)


def read(value: Value) -> ExampleRecipe:
    """The recipe that a YAML file holds. Raises TrainingError."""
    share = partial(Value.number, low=0, high=1)
    level = _range(-120, 60)
    parts: dict[str, Callable[[Value], Any]] = {
        "positives": _count,
        "negatives": _count,
        "background": _background,
        "level_dbfs": _range(-80, 0),
        "excerpt_seconds": _range(0.1, 9.9),
        "voice": _part(
            VoiceRange,
            {"share": share, "speed": _range(0.5, 2), "pitch_semitones": _range(-12, 12), "formants": _range(0.7, 1.4)},
        ),
        "room": _part(Room, {"share": share, "rt60_seconds": _range(0.02, 3), "direct_db": level}),
        "equaliser": _part(Equaliser, {"share": share, "spread_db": _range(0, 20)}),
        "band": _part(Band, {"share": share, "high_pass_hz": _range(10, 1000), "low_pass_hz": _range(1500, 20_000)}),
        "codec": _part(
            Codec, {"share": share, "kinds": _kinds, "opus_kbps": _range(6, 256), "mp3_kbps": _range(16, 160)}
        ),
    }
    recipe = ExampleRecipe(**value.fields(parts, required=("positives", "negatives", "background", "level_dbfs")))
    if recipe.excerpt_seconds is not None and recipe.excerpt_seconds[1] / recipe.slowest >= 10:
        value.fail(f"excerpts of {recipe.excerpt_seconds[1]:g} s at speed {recipe.slowest:g} do not fit into 10 s")
    return recipe


def _part(kind: Callable[..., Any], readers: dict[str, Callable[[Value], Any]]) -> Callable[[Value], Any]:
    return lambda value: kind(**value.fields(readers, required=readers))


def _range(low: float, high: float) -> Callable[[Value], Range]:
    def read_range(value: Value) -> Range:
        if not value.is_list():
            number = value.number(low, high)
            return number, number
        return _ordered(value, [item.number(low, high) for item in value.items()])

    return read_range


def _count(value: Value) -> tuple[int, int]:
    if not value.is_list():
        number = value.integer(0, 20)
        return number, number
    return _ordered(value, [item.integer(0, 20) for item in value.items()])


def _ordered(value: Value, numbers: list[Any]) -> tuple[Any, Any]:
    if len(numbers) != 2 or numbers[0] > numbers[1]:
        value.fail("two numbers are needed, the lower one first")
    return numbers[0], numbers[1]


def _background(value: Value) -> Background:
    readers = {"gain_db": _range(-120, 60), "snr_db": _range(-30, 100), "voice_db": _range(-30, 10)}
    found = value.fields(readers, required=())
    if ("gain_db" in found) == ("snr_db" in found):
        value.fail("one of 'gain_db' and 'snr_db' is needed")
    if "gain_db" in found and "voice_db" in found:
        value.fail("'voice_db' goes with 'snr_db' alone")
    if "snr_db" in found:
        found.setdefault("voice_db", (0.0, 0.0))
    return Background(**found)


def _kinds(value: Value) -> tuple[str, ...]:
    kinds = tuple(item.choice(CODECS) for item in value.items())
    if not kinds:
        value.fail("this is empty; leave `codec` out, or set its share to 0")
    return kinds
