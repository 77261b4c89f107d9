"""One YAML file in, frozen settings out; everything is optional, and what is not understood is refused.

Read from ``--config``, else ``$XDG_CONFIG_HOME/chimed/config.yaml``, else ``/etc/chimed/config.yaml``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.errors import ConfigError
from daemon.hooks import TIME_LIMIT, Hook
from daemon.logs import LEVELS
from daemon.yamlfile import Value, read, suggest
from model.gate import MAX_STEPS
from model.modelfile import shipped

SYSTEM_FILE = Path("/etc/chimed/config.yaml")
DEFAULT_WORD = "activate"
HIGHEST_THRESHOLD = 0.9999  # a posterior must still exceed it

Chime = bool | Path  # the project's own or none, or the user's sound


@dataclass(frozen=True)
class Word:
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
class Settings:
    """Everything that can be configured. device: number or (part of a) name; file: where it was read."""

    device: int | str | None = None
    words: tuple[Word, ...] = ()
    chime: Chime = True
    hooks: tuple[Hook, ...] = ()
    log_level: str = "info"
    file: Path | None = None


def load(file: Path | None = None) -> Settings:
    """The settings of this file, or of the first that exists at the usual places, or the defaults.

    Raises ConfigError.
    """
    if file is None:
        file = next((candidate for candidate in usual_files() if candidate.is_file()), None)
    return parse(read(file)) if file else Settings()


def usual_files() -> list[Path]:
    """Where a configuration may lie, the user's own first."""
    folder = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return [Path(folder).expanduser() / "chimed" / "config.yaml", SYSTEM_FILE]


def parse(root: Value) -> Settings:
    """A whole file. Raises ConfigError."""
    fields = root.fields(
        {
            "audio": _audio,
            "words": lambda value: tuple(map(_word, value.items())),
            "chime": _chime,
            "hooks": _hooks,
            "log_level": lambda value: value.choice(LEVELS),
        }
    )
    fields |= fields.pop("audio", {})
    return Settings(**fields, file=root.file)


def _audio(value: Value) -> dict[str, Any]:
    return value.fields({"device": lambda value: value.text() if value.is_text() else value.integer(0, 9999)})


def _word(value: Value) -> Word:
    fields: dict[str, Any] = value.fields(
        {
            "word": _shipped_word,
            "model": lambda value: (value.file_path(), value.where),
            "threshold": lambda value: value.number(0.0, HIGHEST_THRESHOLD),
            "smoothing": lambda value: value.integer(1, MAX_STEPS),
            "suppression": lambda value: value.integer(0, MAX_STEPS),
            "chime": _chime,
            "hooks": _hooks,
        }
    )
    sources = [fields.pop(key) for key in ("word", "model") if key in fields]
    if len(sources) != 1:
        value.fail("each entry needs either `word` (one that comes with chimed) or `model` (a file)")
    model, where = sources[0]
    return Word(model, where, **fields)


def _shipped_word(value: Value) -> tuple[Path, str]:
    known = shipped()
    word = value.text()
    if word not in known:
        value.fail(f"no model for {word!r} comes with chimed; {suggest(word, known)}")
    return known[word], value.where


def _chime(value: Value) -> Chime:
    return value.boolean() if value.is_bool() else value.file_path()


def _hooks(value: Value) -> tuple[Hook, ...]:
    return tuple(map(_hook, value.items()))


def _hook(value: Value) -> Hook:
    if value.is_text():
        return Hook(value.text())
    fields: Mapping[str, Any] = value.fields(
        {"command": Value.text, "time_limit": lambda value: value.number(0.1, 86_400)}
    )
    if "command" not in fields:
        value.fail("a hook needs a `command`")
    return Hook(fields["command"], fields.get("time_limit", TIME_LIMIT))


def default_word() -> Word:
    """What is listened for when nothing is configured. Raises ConfigError if chimed came without it."""
    models = shipped()
    if DEFAULT_WORD not in models:
        raise ConfigError(f"no model for {DEFAULT_WORD!r} came with this chimed; name one with --model")
    return Word(models[DEFAULT_WORD])
