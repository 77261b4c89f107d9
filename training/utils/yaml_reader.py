"""YAML in, values with their lines out, so that a complaint about a recipe says file, line, key and what was meant."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import yaml

from training.utils.errors import TrainingError


def suggest(word: str, known: Iterable[str]) -> str:
    """What to add to a complaint about an unknown word: the nearest known one, or all of them."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"


@dataclass(frozen=True)
class Value:
    """One node of a YAML file. source: the file's name; path: its key's path, such as ``voice.speed``."""

    source: str
    path: str
    _node: yaml.Node

    def fail(self, reason: str) -> NoReturn:
        """Raise TrainingError: file, line, key, reason."""
        key = f"{self.path}: " if self.path else ""
        raise TrainingError(f"{self.source}:{self._node.start_mark.line + 1}: {key}{reason}")

    def fields(
        self, readers: Mapping[str, Callable[[Value], Any]], required: Iterable[str] | None = None
    ) -> dict[str, Any]:
        """A mapping, each key read by its reader; an unknown, repeated or lacking key is refused.

        required: the keys that must be there; all if left out.
        """
        if not isinstance(self._node, yaml.MappingNode):
            self.fail("a mapping (`key: value`) is needed")
        result: dict[str, Any] = {}
        for key_node, node in self._node.value:
            name = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else "?"
            key = Value(self.source, f"{self.path}.{name}".removeprefix("."), key_node)
            if name not in readers:
                key.fail(f"unknown key; {suggest(name, readers)}")
            if name in result:
                key.fail("this key stands here twice")
            result[name] = readers[name](Value(self.source, key.path, node))
        if lacking := [name for name in (readers if required is None else required) if name not in result]:
            self.fail(f"{', '.join(map(repr, lacking))} is missing")
        return result

    def items(self) -> list[Value]:
        """The entries of a list."""
        if not isinstance(self._node, yaml.SequenceNode):
            self.fail("a list (`[a, b]`) is needed")
        return [Value(self.source, f"{self.path}[{i}]", node) for i, node in enumerate(self._node.value)]

    def is_list(self) -> bool:
        """Whether this is a list."""
        return isinstance(self._node, yaml.SequenceNode)

    def number(self, low: float, high: float) -> float:
        """A number, `low` to `high`."""
        value = self._scalar()
        if not isinstance(value, int | float) or isinstance(value, bool):
            self.fail(f"a number is needed, not {self._shown(value)}")
        if not low <= value <= high:  # what is not a number is not in the range either
            self.fail(f"{value} is outside {low:g} to {high:g}")
        return float(value)

    def integer(self, low: int, high: int) -> int:
        """A whole number, `low` to `high`."""
        value = self._scalar()
        if not isinstance(value, int) or isinstance(value, bool):
            self.fail(f"a whole number is needed, not {self._shown(value)}")
        if not low <= value <= high:
            self.fail(f"{value} is outside {low} to {high}")
        return value

    def choice(self, known: Iterable[str]) -> str:
        """One of these words."""
        value = self._scalar()
        if not isinstance(value, str):
            self.fail(f"text is needed, not {self._shown(value)}")
        if value not in known:
            self.fail(f"{value!r} is not known; {suggest(value, known)}")
        return value

    def _scalar(self) -> Any:
        if not isinstance(self._node, yaml.ScalarNode):
            return {} if isinstance(self._node, yaml.MappingNode) else []
        loader = yaml.SafeLoader("")
        try:
            return loader.construct_object(self._node)
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            self.fail(f"cannot be understood ({getattr(error, 'problem', None) or error})")
        finally:
            loader.dispose()

    def _shown(self, value: Any) -> str:
        names: dict[type, str] = {dict: "a mapping", list: "a list", type(None): "nothing"}
        return names.get(type(value)) or repr(value)


def parse(text: str, source: str) -> Value:
    """The whole of a YAML text that came from `source`. Raises TrainingError if it is not YAML or is empty."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise TrainingError(f"{source}:{mark.line + 1 if mark else 1}: not valid YAML ({error.problem})") from error
    except (yaml.YAMLError, RecursionError) as error:  # a control character; a thousand brackets
        raise TrainingError(f"{source}: not valid YAML ({' '.join(str(error).split())})") from error
    if node is None:
        raise TrainingError(f"{source}: there is nothing in it")
    return Value(source, "", node)
