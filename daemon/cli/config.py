"""`chimed config`: prints the settings in force as YAML, each with its origin; or says whether a file can be used."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from daemon.config import settings as config
from daemon.config.hook import Hook
from daemon.config.settings import Settings
from daemon.listening import listening_plan
from daemon.system.terminal import say
from model.modelfile import Model, shipped

DEFAULT_ORIGIN = "default"
ORIGIN_COLUMN = 44  # characters before the origin


def command(args: argparse.Namespace) -> int:
    """Print the settings, or check them. Raises ConfigError."""
    settings = listening_plan.with_overrides(
        config.load(args.check if args.check and args.check.name else args.config), args.model, args.threshold
    )
    plan = listening_plan.load_plan(settings)
    if args.check is not None:
        say(f"{settings.file or 'no file, so the defaults'}: can be used; listens for {plan}")
        return 0
    if settings.file is None:
        say(f"# no configuration file; there could be {' or '.join(map(str, config.usual_files()))}")
    for line in lines(settings, plan.models):
        say(line)
    return 0


def lines(settings: Settings, models: Sequence[Model]) -> Iterator[str]:
    """YAML that says the same as these settings, with an origin behind each value."""
    yield from _section("audio", settings.audio, settings.places)
    yield "words:"
    for index, model in enumerate(models):
        yield from _word(settings, index, model)
    yield _line("chime: ", settings.chime, settings.places.get("chime", DEFAULT_ORIGIN))
    yield from _hooks("", settings.hooks, settings.places.get("hooks", DEFAULT_ORIGIN))
    yield _line("hooks_at_once: ", settings.hooks_at_once, settings.places.get("hooks_at_once", DEFAULT_ORIGIN))
    for name in ("clips", "control", "wyoming"):
        yield from _section(name, getattr(settings, name), settings.places)
    yield _line("log_level: ", settings.log_level, settings.places.get("log_level", DEFAULT_ORIGIN))


def _section(name: str, section: Any, places: Mapping[str, str]) -> Iterator[str]:
    if section is None:
        yield f"{f'# {name}: not set':{ORIGIN_COLUMN}}  # {DEFAULT_ORIGIN}"
        return
    values = {field.name: getattr(section, field.name) for field in dataclasses.fields(section)}
    unset = all(value is None for value in values.values())
    yield f"# {name}:" if unset else f"{name}:"
    for key, value in values.items():
        yield _line(f"  {key}: ", value, places.get(f"{name}.{key}", DEFAULT_ORIGIN))


def _word(settings: Settings, index: int, model: Model) -> Iterator[str]:
    word, path = settings.words[index], f"words[{index}]"
    origin = settings.places.get(f"{path}.model") or settings.places.get(f"{path}.word", DEFAULT_ORIGIN)
    if shipped().get(model.word) == word.model:
        yield _line("- word: ", model.word, origin)
    else:
        yield _line("- model: ", word.model, f'{origin}; the word is "{model.word}"')
    for key in ("threshold", "smoothing", "suppression"):
        yield _line(f"  {key}: ", getattr(model, key), settings.places.get(f"{path}.{key}", "the model file"))
    inherited = "as for all words"
    chime = settings.chime if word.chime is None else word.chime
    yield _line("  chime: ", chime, settings.places.get(f"{path}.chime", inherited))
    hooks = settings.hooks if word.hooks is None else word.hooks
    yield from _hooks("  ", hooks, settings.places.get(f"{path}.hooks", inherited))


def _hooks(indent: str, hooks: Sequence[Hook], origin: str) -> Iterator[str]:
    if not hooks:
        yield _line(f"{indent}hooks: ", [], origin)
        return
    yield f"{f'{indent}hooks:':{ORIGIN_COLUMN}}  # {origin}"
    for hook in hooks:
        given = dataclasses.asdict(hook)
        plain = Hook(hook.command) == hook and isinstance(hook.command, str)
        yield f"{indent}- {_yaml(hook.command if plain else given)}"


def _line(start: str, value: object, origin: str) -> str:
    if value is None:
        indent = start[: len(start) - len(start.lstrip())]
        return f"{f'{indent}# {start.strip()} not set':{ORIGIN_COLUMN}}  # {origin}"
    return f"{start + _yaml(value):{ORIGIN_COLUMN}}  # {origin}"


def _yaml(value: Any) -> str:
    """One line of YAML."""
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, tuple):
        value = list(value)
    if isinstance(value, dict):
        value = {key: list(each) if isinstance(each, tuple) else each for key, each in value.items()}
    dumped = yaml.safe_dump(value, default_flow_style=True, width=10**9, allow_unicode=True, sort_keys=False)
    return str(dumped).removesuffix("\n").removesuffix("\n...")
