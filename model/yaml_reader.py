"""YAML text to values that know their place, so that each complaint can say file, line, key and what was meant.

For both programs: each names the error that it raises. PyYAML is imported by what reads, not with this module.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn, Self, TypeVar

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


@dataclass(frozen=True)
class Value:
    """One node of a YAML file. path: its key's path, such as ``words[0].threshold``; error: what is raised.

    places: key path -> "file:line" of all that was read of this file so far.
    """

    file: Path
    path: str
    node: Any = field(repr=False)  # yaml.Node
    error: type[Exception] = ValueError
    places: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def place(self) -> str:
        """``file:line``."""
        return f"{self.file}:{self.node.start_mark.line + 1}"

    @property
    def where(self) -> str:
        """How a complaint about it begins: file, line, key."""
        key = f"{self.path}: " if self.path else ""
        return f"{self.place}: {key}"

    def fail(self, reason: str) -> NoReturn:
        """Raise the error: file, line, key, reason."""
        raise self.error(self.where + reason)

    def fields(self, readers: Mapping[str, Callable[[Self], T]], required: Iterable[str] = ()) -> dict[str, T]:
        """A mapping, each key read by its reader; an unknown, repeated or lacking key is refused."""
        result: dict[str, T] = {}
        if self.node.id != "mapping" and not self._is_null():
            self._fail_type("a mapping (`key: value`)")
        for key_node, node in self.node.value if self.node.id == "mapping" else ():
            name = str(key_node.value) if key_node.id == "scalar" else "?"
            key = self._at(f"{self.path}.{name}".removeprefix("."), key_node)
            if name not in readers:
                key.fail(f"unknown key; {suggest(name, readers)}")
            if name in result:
                key.fail("this key stands here twice")
            self.places[key.path] = key.place
            result[name] = readers[name](self._at(key.path, node))
        if lacking := [name for name in required if name not in result]:
            self.fail(f"{', '.join(map(repr, lacking))} is missing")
        return result

    def items(self) -> list[Self]:
        """The entries of a list."""
        if self._is_null():
            return []
        if not self.is_list():
            self._fail_type("a list (`- entry`)")
        return [self._at(f"{self.path}[{i}]", node) for i, node in enumerate(self.node.value)]

    def is_text(self) -> bool:
        """Whether this is a string."""
        return isinstance(self._scalar(), str)

    def is_bool(self) -> bool:
        """Whether this is true or false."""
        return isinstance(self._scalar(), bool)

    def is_list(self) -> bool:
        """Whether this is a list."""
        return bool(self.node.id == "sequence")

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

    def _at(self, path: str, node: Any) -> Self:
        return replace(self, path=path, node=node)

    def _scalar(self) -> Any:
        import yaml

        if self.node.id != "scalar":
            return {} if self.node.id == "mapping" else []
        loader = yaml.SafeLoader("")
        try:
            return loader.construct_object(self.node)
        except (yaml.YAMLError, ValueError, OverflowError, LookupError, AttributeError, TypeError) as error:
            # what a tag makes of a scalar that does not suit it (`!!bool maybe`) is of any kind
            self.fail(f"cannot be understood ({getattr(error, 'problem', None) or error})")
        finally:
            loader.dispose()

    def _is_null(self) -> bool:
        return self.node.id == "scalar" and self._scalar() is None

    def _fail_type(self, wanted: str) -> NoReturn:
        value = self._scalar()
        found = _TYPES.get(type(value), type(value).__name__)
        shown = f" ({value!r})" if isinstance(value, str | int | float) else ""
        self.fail(f"{wanted} is needed, not {found}{shown}")


V = TypeVar("V", bound=Value)


def parse(text: str, file: Path, kind: Callable[[Path, str, Any], V], error: type[Exception]) -> V:
    """The whole of a YAML text, nothing if it holds comments alone. Raises `error` where it is not YAML.

    kind: makes a value of a file, a path and a node.
    """
    import yaml

    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as wrong:
        mark = wrong.problem_mark or wrong.context_mark
        raise error(f"{file}:{mark.line + 1 if mark else 1}: not valid YAML ({wrong.problem})") from wrong
    except (yaml.YAMLError, RecursionError) as wrong:  # a control character; a thousand brackets
        raise error(f"{file}: not valid YAML ({' '.join(str(wrong).split())})") from wrong
    if node is None:  # only comments, or nothing
        start = yaml.Mark(str(file), 0, 0, 0, None, 0)
        node = yaml.ScalarNode("tag:yaml.org,2002:null", "", start, start)
    return kind(file, "", node)
