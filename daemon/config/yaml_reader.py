"""YAML in, values with their places out, so that each complaint can say file, line, key and what was meant."""

from __future__ import annotations

import difflib
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml

from daemon.config import permissions
from daemon.system.errors import ConfigError

T = TypeVar("T")

_TYPES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    dict: "a mapping",
    list: "a list",
    type(None): "nothing",
}


def suggest(word: str, known: Iterable[str]) -> str:
    """What to add to a complaint about an unknown word: the nearest known one, or all of them."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"


def mode_of(path: Path) -> int:
    """The mode of what lies at a path, 0 for nothing. Raises OSError where that cannot be seen."""
    try:
        return path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


@dataclass(frozen=True)
class Value:
    """One node of a YAML file. path: its key's path, such as ``words[0].threshold``.

    places: key path -> "file:line" of all that was read of this file so far.
    """

    file: Path
    path: str
    _node: yaml.Node
    places: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def place(self) -> str:
        """``file:line``."""
        return f"{self.file}:{self._node.start_mark.line + 1}"

    @property
    def where(self) -> str:
        """How a complaint about it begins: file, line, key."""
        key = f"{self.path}: " if self.path else ""
        return f"{self.place}: {key}"

    def fail(self, reason: str) -> NoReturn:
        """Raise ConfigError."""
        raise ConfigError(self.where + reason)

    def fields(self, readers: Mapping[str, Callable[[Value], T]]) -> dict[str, T]:
        """A mapping, each key read by its reader; an unknown or repeated key is refused."""
        if self._is_null():
            return {}
        if not isinstance(self._node, yaml.MappingNode):
            self._fail_type("a mapping (`key: value`)")
        result: dict[str, T] = {}
        for key_node, node in self._node.value:
            name = key_node.value if isinstance(key_node, yaml.ScalarNode) else "?"
            key = self._at(f"{self.path}.{name}".removeprefix("."), key_node)
            if name not in readers:
                key.fail(f"unknown key; {suggest(name, readers)}")
            if name in result:
                key.fail("this key stands here twice")
            self.places[key.path] = key.place
            result[name] = readers[name](self._at(key.path, node))
        return result

    def items(self) -> list[Value]:
        """The entries of a list."""
        if self._is_null():
            return []
        if not isinstance(self._node, yaml.SequenceNode):
            self._fail_type("a list (`- entry`)")
        return [self._at(f"{self.path}[{i}]", node) for i, node in enumerate(self._node.value)]

    def is_text(self) -> bool:
        """Whether this is a string."""
        return isinstance(self._scalar(), str)

    def is_bool(self) -> bool:
        """Whether this is true or false."""
        return isinstance(self._scalar(), bool)

    def is_list(self) -> bool:
        """Whether this is a list."""
        return isinstance(self._node, yaml.SequenceNode)

    def text(self) -> str:
        """A string that is not empty."""
        value = self._scalar()
        if not isinstance(value, str):
            self._fail_type("text")
        if not value.strip():
            self.fail("this is empty")
        return value

    def boolean(self) -> bool:
        """True or false."""
        value = self._scalar()
        if not isinstance(value, bool):
            self._fail_type("true or false")
        return value

    def integer(self, low: int, high: int) -> int:
        """A whole number, `low` to `high`."""
        value = self._scalar()
        if not isinstance(value, int) or isinstance(value, bool):
            self._fail_type("a whole number")
        if not low <= value <= high:
            self.fail(f"{value} is outside {low} to {high}")
        return value

    def number(self, low: float, high: float) -> float:
        """A number, `low` to `high`."""
        value = self._scalar()
        if not isinstance(value, int | float) or isinstance(value, bool):
            self._fail_type("a number")
        if not low <= value <= high:  # what is not a number is not in the range either
            self.fail(f"{value} is outside {low:g} to {high:g}")
        return float(value)

    def choice(self, known: Iterable[str]) -> str:
        """One of these words."""
        value = self.text()
        if value not in known:
            self.fail(f"{value!r} is not known; {suggest(value, known)}")
        return value

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

    def _at(self, path: str, node: yaml.Node) -> Value:
        return Value(self.file, path, node, self.places)

    def _scalar(self) -> Any:
        if not isinstance(self._node, yaml.ScalarNode):
            return {} if isinstance(self._node, yaml.MappingNode) else []
        try:
            return _construct(self._node)
        except (yaml.YAMLError, ValueError, OverflowError, LookupError, AttributeError, TypeError) as error:
            # what a tag makes of a scalar that does not suit it (`!!bool maybe`) is of any kind
            self.fail(f"cannot be understood ({getattr(error, 'problem', None) or error})")

    def _is_null(self) -> bool:
        return isinstance(self._node, yaml.ScalarNode) and self._scalar() is None

    def _fail_type(self, wanted: str) -> NoReturn:
        value = self._scalar()
        found = _TYPES.get(type(value), type(value).__name__)
        shown = f" ({value!r})" if isinstance(value, str | int | float) else ""
        self.fail(f"{wanted} is needed, not {found}{shown}")


def _construct(node: yaml.ScalarNode) -> Any:
    """The value that safe YAML gives a scalar."""
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_object(node)
    finally:
        loader.dispose()


def read(file: Path) -> Value:
    """The whole of a YAML file. Raises ConfigError: unreadable, others can write it, not UTF-8, or not YAML."""
    try:
        with file.open(encoding="utf-8") as stream:
            permissions.check(file, stream.fileno())
            text = stream.read()
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: this is not UTF-8 text") from error
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError(f"{file}:{mark.line + 1 if mark else 1}: not valid YAML ({error.problem})") from error
    except (yaml.YAMLError, RecursionError) as error:  # a control character; a thousand brackets
        raise ConfigError(f"{file}: not valid YAML ({' '.join(str(error).split())})") from error
    if node is None:  # only comments, or nothing
        mark = yaml.Mark(str(file), 0, 0, 0, None, 0)
        node = yaml.ScalarNode("tag:yaml.org,2002:null", "", mark, mark)
    return Value(file, "", node)
