"""Loads what is listened for, the models, and what is done then, from the settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.audio.resample import Samples
from daemon.config import settings as config
from daemon.config.hook import Hook
from daemon.config.settings import Settings, WordSettings
from daemon.responses import chime
from daemon.system.errors import AudioError, ConfigError
from model import modelfile
from model.modelfile import Model, ModelFileError


@dataclass(frozen=True)
class Response:
    """What follows a word. chime: samples at 44.1 kHz, None for silence."""

    chime: Samples | None
    hooks: tuple[Hook, ...]


@dataclass(frozen=True)
class ListeningPlan:
    """Everything that the loop needs to know: what to listen for, and word -> what follows then."""

    models: tuple[Model, ...]
    responses: Mapping[str, Response]

    def __str__(self) -> str:
        return ", ".join(f'"{model.word}" (threshold {model.threshold:g})' for model in self.models)


def load_plan(settings: Settings) -> ListeningPlan:
    """Load all that these settings name. Raises ConfigError."""
    models = load_models(settings.words)
    return ListeningPlan(tuple(models), responses(settings, models))


def with_overrides(settings: Settings, models: Sequence[Path] = (), threshold: float | None = None) -> Settings:
    """The settings as the command line overrides them; without any word, with the one that comes with chimed."""
    words, places = settings.words, dict(settings.places)
    if models:
        words = tuple(WordSettings(path) for path in models)
        places = {path: place for path, place in places.items() if not path.startswith("words")}
        places |= {f"words[{i}].model": "--model" for i in range(len(words))}
    words = words or (config.default_word(),)
    if threshold is not None:
        words = tuple(dataclasses.replace(word, threshold=threshold) for word in words)
        places |= {f"words[{i}].threshold": "--threshold" for i in range(len(words))}
    return dataclasses.replace(settings, words=words, places=places)


def load_models(words: Sequence[WordSettings]) -> list[Model]:
    """The model of each word, with the word's own threshold, smoothing and suppression.

    Raises ConfigError with the file and the reason.
    """
    models: dict[str, Model] = {}
    for word in words:
        own = {name: getattr(word, name) for name in ("threshold", "smoothing", "suppression")}
        try:
            model = modelfile.load(word.model)
        except ModelFileError as error:
            raise ConfigError(f"{word.where}{error}") from error
        if model.word in models:
            raise ConfigError(f"{word.where}{word.model}: another model already listens for {model.word!r}")
        models[model.word] = dataclasses.replace(
            model, **{key: value for key, value in own.items() if value is not None}
        )
    return list(models.values())


def responses(settings: Settings, models: Sequence[Model]) -> dict[str, Response]:
    """Word -> response, for models loaded from these settings. Raises ConfigError for a chime that cannot be read."""
    return {
        model.word: Response(_sound(settings, index), settings.hooks if word.hooks is None else word.hooks)
        for index, (word, model) in enumerate(zip(settings.words, models, strict=True))
    }


def _sound(settings: Settings, index: int) -> Samples | None:
    own = settings.words[index].chime
    choice = settings.chime if own is None else own
    if choice is False:
        return None
    if choice is True:
        return chime.synthesise()
    try:
        return chime.load(choice)
    except AudioError as error:
        path = "chime" if own is None else f"words[{index}].chime"
        raise ConfigError(f"{settings.places.get(path, settings.file)}: {path}: {error}") from error
