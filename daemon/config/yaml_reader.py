"""The configuration's YAML: values with their places, paths relative to the file, and who may have written it."""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from daemon.config import permissions
from daemon.system.errors import ConfigError
from model import yaml_reader
from model.yaml_reader import suggest

__all__ = ["ConfigValue", "mode_of", "read", "suggest"]


def mode_of(path: Path) -> int:
    """The mode of what lies at a path, 0 for nothing. Raises OSError where that cannot be seen."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


@dataclass(frozen=True)
class ConfigValue(yaml_reader.Value):
    """One node of a configuration file. Raises ConfigError."""

    error: type[Exception] = ConfigError

    def file_path(self) -> Path:
        """An existing file; ``~`` is the home folder, and what is relative starts at the configuration's folder."""
        path, mode = self._looked_at()
        if not stat.S_ISREG(mode):
            self.fail(f"{path} is no file" if mode else f"there is no file {path}")
        return path

    def folder_path(self) -> Path:
        """As `file_path`, but of a folder, which need not exist yet."""
        path, mode = self._looked_at()
        if mode and not stat.S_ISDIR(mode):
            self.fail(f"{path} is a file, and a folder is needed")
        return path

    def path_here(self) -> Path:
        """A path of anything, whether it is there or not."""
        text = self.text()
        try:
            return self.file.parent / Path(text).expanduser()
        except RuntimeError:  # ~nobody, or nobody knows where ~ is
            self.fail(f"{text}: there is no such home folder")

    def _looked_at(self) -> tuple[Path, int]:
        """A path and the mode of what is there, 0 for nothing."""
        path = self.path_here()
        try:
            return path, mode_of(path)
        except (OSError, ValueError) as error:  # a folder that may not be entered, a name too long, a null character
            self.fail(f"{path}: {getattr(error, 'strerror', None) or error}")


def read(file: Path) -> ConfigValue:
    """The whole of a YAML file. Raises ConfigError: unreadable, others can write it, not UTF-8, or not YAML."""
    try:
        with file.open(encoding="utf-8") as stream:
            permissions.check(file, stream.fileno())
            text = stream.read()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: this is not UTF-8 text") from error
    return yaml_reader.parse(text, file, ConfigValue, ConfigError)
