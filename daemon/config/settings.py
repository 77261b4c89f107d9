"""Reads a configuration file as frozen settings; everything is optional, and what is not understood is refused.

Read from ``--config``, else ``$XDG_CONFIG_HOME/chimed/config.yaml``, else ``/etc/chimed/config.yaml``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daemon.config.hook import Hook
from daemon.config.wyoming_options import (
    ARBITRATION_RANGE,
    CHOICES,
    IDLE_RANGE,
    SERVICE_NAME,
    STREAMS_RANGE,
    WyomingOptions,
    check,
)
from daemon.config.yaml_reader import ConfigValue, mode_of, read, suggest
from daemon.system.errors import ConfigError, UsageError
from daemon.system.log_handlers import LEVELS
from model.frontend import CLIP, SAMPLE_RATE
from model.gate import MAX_STEPS
from model.modelfile import shipped

SYSTEM_FILE = Path("/etc/chimed/config.yaml")
DEFAULT_WORD = "activate"
HIGHEST_THRESHOLD = 0.9999  # a posterior must still exceed it
CLIP_SECONDS = CLIP / SAMPLE_RATE  # the rolling window: what a clip can hold

Chime = bool | Path  # the project's own or none, or the user's sound


@dataclass(frozen=True)
class WordSettings:
    """A word to listen for; None leaves the decision to the model file or to the settings.

    where: "file:line: key: " before a complaint about the model; smoothing, suppression: steps.
    """

    model: Path
    where: str = ""
    threshold: float | None = None
    smoothing: int | None = None
    suppression: int | None = None
    chime: Chime | None = None
    hooks: tuple[Hook, ...] | None = None


@dataclass(frozen=True)
class AudioSettings:
    """What to listen to. device: number or (part of a) name; channel: counted from 1; gain: dB."""

    device: int | str | None = None
    channel: int = 1
    gain: float = 0.0


@dataclass(frozen=True)
class ClipSettings:
    """Recordings of what was heard. folder: None for none; the oldest go first.

    seconds, after: how much before and after a detection.
    """

    folder: Path | None = None
    seconds: float = 3.0
    near_misses: bool = False
    max_files: int = 1_000
    max_bytes: int = 500_000_000
    after: float = 0.5


@dataclass(frozen=True)
class ControlSettings:
    """The socket for `chimed status` and its like. socket: None for the usual place in the runtime folder."""

    enabled: bool = True
    socket: Path | None = None


@dataclass(frozen=True)
class Settings:
    """Everything that can be configured.

    hooks: of all words that have none of their own; wyoming: None where it is not offered; file: where it was
    read; places: key path, such as ``words[0].threshold``, -> "file:line" or the option that said it; what is not
    in it is a default.
    """

    audio: AudioSettings = AudioSettings()
    words: tuple[WordSettings, ...] = ()
    chime: Chime = True
    hooks: tuple[Hook, ...] = ()
    hooks_at_once: int = 16
    clips: ClipSettings = ClipSettings()
    control: ControlSettings = ControlSettings()
    wyoming: WyomingOptions | None = None
    log_level: str = "info"
    file: Path | None = None
    places: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)


def load(file: Path | None = None) -> Settings:
    """The settings of this file, or of the first that exists at the usual places, or the defaults.

    Raises ConfigError.
    """
    if file is None:
        file = next(filter(_is_there, usual_files()), None)
    return parse(read(file)) if file else Settings()


def usual_files() -> list[Path]:
    """Where a configuration may lie, the user's own first."""
    folder = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    try:
        return [Path(folder).expanduser() / "chimed" / "config.yaml", SYSTEM_FILE]
    except RuntimeError:  # a user without a home
        return [SYSTEM_FILE]


def _is_there(file: Path) -> bool:
    try:
        return stat.S_ISREG(mode_of(file))
    except OSError as error:  # better said than passed over: it may say what to listen for
        raise ConfigError(f"{file}: {error.strerror}") from error


def parse(root: ConfigValue) -> Settings:
    """A whole file. Raises ConfigError."""
    fields: dict[str, Any] = root.fields(KEYS)
    return Settings(**fields, file=root.file, places=root.places)


def _device(value: ConfigValue) -> int | str:
    return value.text() if value.is_text() else value.integer(0, 9999)


def _word(value: ConfigValue) -> WordSettings:
    fields: dict[str, Any] = value.fields(WORD_KEYS)
    sources = [fields.pop(key) for key in ("word", "model") if key in fields]
    if len(sources) != 1:
        value.fail("each entry needs either `word` (one that comes with chimed) or `model` (a file)")
    model, where = sources[0]
    return WordSettings(model, where, **fields)


def _shipped_word(value: ConfigValue) -> tuple[Path, str]:
    known = shipped()
    word = value.text()
    if word not in known:
        value.fail(f"no model for {word!r} comes with chimed; {suggest(word, known)}")
    return known[word], value.where


def _chime(value: ConfigValue) -> Chime:
    return value.boolean() if value.is_bool() else value.file_path()


def _hooks(value: ConfigValue) -> tuple[Hook, ...]:
    return tuple(map(_hook, value.items()))


def _hook(value: ConfigValue) -> Hook:
    if value.is_text():
        return Hook(value.text())
    if value.is_list():
        return Hook(_command(value))
    fields: dict[str, Any] = value.fields(HOOK_KEYS)
    if "command" not in fields:
        value.fail("a hook needs a `command`")
    return Hook(**fields)


def _command(value: ConfigValue) -> str | tuple[str, ...]:
    """A line for the shell, or a program and its arguments, which no shell sees."""
    if not value.is_list():
        return value.text()
    arguments = tuple(item.text() for item in value.items())
    if not arguments:
        value.fail("this is empty")
    return arguments


def _wyoming(value: ConfigValue) -> WyomingOptions:
    options = WyomingOptions(**value.fields(WYOMING_KEYS))
    try:
        if options.uri.startswith("stdio"):
            raise UsageError("standard input is for `chimed wyoming --uri stdio://` alone: use tcp:// or unix://")
        check(options)
    except UsageError as error:
        value.fail(str(error))
    return options


def _zeroconf(value: ConfigValue) -> str | None:
    if value.is_bool():
        return SERVICE_NAME if value.boolean() else None
    return value.text()


def default_word() -> WordSettings:
    """What is listened for when nothing is configured. Raises ConfigError if chimed came without it."""
    models = shipped()
    if DEFAULT_WORD not in models:
        raise ConfigError(f"no model for {DEFAULT_WORD!r} came with this chimed; name one with --model")
    return WordSettings(models[DEFAULT_WORD])


# every key there is: its name and how its value is read
Keys = Mapping[str, Callable[[ConfigValue], Any]]

AUDIO_KEYS: Keys = {
    "device": _device,
    "channel": lambda value: value.integer(1, 64),
    "gain": lambda value: value.number(-60.0, 60.0),
}
HOOK_KEYS: Keys = {
    "command": _command,
    "time_limit": lambda value: value.number(0.1, 86_400),
    "cooldown": lambda value: value.number(0, 86_400),
}
WORD_KEYS: Keys = {
    "word": _shipped_word,
    "model": lambda value: (value.file_path(), value.where),
    "threshold": lambda value: value.number(0.0, HIGHEST_THRESHOLD),
    "smoothing": lambda value: value.integer(1, MAX_STEPS),
    "suppression": lambda value: value.integer(0, MAX_STEPS),
    "chime": _chime,
    "hooks": _hooks,
}
CLIPS_KEYS: Keys = {
    "folder": ConfigValue.folder_path,
    "seconds": lambda value: value.number(0.5, CLIP_SECONDS),
    "after": lambda value: value.number(0.0, 2.0),
    "near_misses": ConfigValue.boolean,
    "max_files": lambda value: value.integer(1, 1_000_000),
    "max_bytes": lambda value: value.integer(1_000_000, 10**15),
}
CONTROL_KEYS: Keys = {
    "enabled": ConfigValue.boolean,
    "socket": ConfigValue.path_here,
}
WYOMING_KEYS: Keys = {
    "uri": ConfigValue.text,
    "max_streams": lambda value: value.integer(*STREAMS_RANGE),
    "idle_timeout": lambda value: value.number(*IDLE_RANGE),
    "zeroconf": _zeroconf,
    "arbitrate_ms": lambda value: value.integer(*ARBITRATION_RANGE),
    "arbitrate_by": lambda value: value.choice(CHOICES),
}
KEYS: Keys = {
    "audio": lambda value: AudioSettings(**value.fields(AUDIO_KEYS)),
    "words": lambda value: tuple(map(_word, value.items())),
    "chime": _chime,
    "hooks": _hooks,
    "hooks_at_once": lambda value: value.integer(1, 1_000),
    "clips": lambda value: ClipSettings(**value.fields(CLIPS_KEYS)),
    "control": lambda value: ControlSettings(**value.fields(CONTROL_KEYS)),
    "wyoming": _wyoming,
    "log_level": lambda value: value.choice(LEVELS),
}
