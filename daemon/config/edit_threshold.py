"""Sets a word's threshold in a configuration's text, in which comments, order and style stay.

The places come from the YAML parser's own marks, and nothing else is touched. The result is read again and must say
the same as before but for the threshold: whatever the file holds, it is changed rightly or not at all.
"""

from __future__ import annotations

import copy
import json
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import yaml

from daemon.config import permissions
from daemon.config.settings import SYSTEM_FILE
from daemon.system.errors import ConfigError


class CannotEditError(ConfigError):
    """No program can change the file; the text says what to write by hand."""


def with_threshold(text: str, index: int, word: str, value: float) -> str:
    """The text in which the entry `index` of ``words`` has this threshold.

    word: what the entry is called if there is no list of words yet, which means that chimed's own is listened for.
    Raises CannotEditError.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        before = yaml.safe_load(text)
        edited = _edited(text, root, index, word, f"{value:g}")
        agrees = edited is not None and yaml.safe_load(edited) == _expected(before, index, word, value)
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError):
        edited, agrees = None, False
    if edited is None or not agrees:
        raise CannotEditError(f"this file is written in a way that only you can change; set `threshold: {value:g}`")
    return edited


def save_threshold(file: Path, index: int, word: str, value: float) -> None:
    """Change the file at once or not at all; one that is not there is made. Raises ConfigError."""
    file = Path(os.path.realpath(file))  # a link stays a link
    try:
        if not file.exists():
            _make(file, with_threshold("", index, word, value))
            return
        with file.open(encoding="utf-8", newline="") as stream:
            permissions.check(file, stream.fileno())
            text = stream.read()
        before = file.stat()
        _replace(file, with_threshold(text, index, word, value), before.st_mode & 0o777, before)
    except CannotEditError as error:
        raise CannotEditError(f"{file}: {error}") from error
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: this is not UTF-8 text") from error


def _make(file: Path, text: str) -> None:
    """A new file and its folders, which belong to whoever the folder around them belongs to: this may be root."""
    # the system's is read by a service that is nobody's, a user's own by that user alone
    folder_mode, mode = (0o755, 0o644) if file == SYSTEM_FILE else (0o700, 0o600)
    missing = [folder for folder in file.parents if not folder.exists()]
    around = file.parents[len(missing)].stat()
    for folder in reversed(missing):
        folder.mkdir(folder_mode)
        folder.chmod(folder_mode)  # whatever the umask took away
        _give(folder, around, mode)
    _replace(file, text, mode, around)


def _give(path: Path | int, like: os.stat_result, mode: int) -> None:
    """Let something new belong to whom that belongs. Raises PermissionError where its group must not be lost."""
    try:
        os.chown(path, like.st_uid, like.st_gid)
    except PermissionError:
        # only root may; for others it matters where somebody reads it by its group alone, as a service may
        if mode >> 3 & 7 & ~mode:
            os.chown(path, -1, like.st_gid)


def _replace(file: Path, text: str, mode: int, like: os.stat_result) -> None:
    descriptor, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            _give(stream.fileno(), like, mode)
            os.fchmod(stream.fileno(), mode)
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def _expected(before: Any, index: int, word: str, value: float) -> Any:
    """What the file must say afterwards."""
    after = copy.deepcopy(before) if before is not None else {}
    if not after.get("words"):
        after["words"] = [{"word": word}]
    after["words"][index] = after["words"][index] | {"threshold": value}  # of an entry named twice, this one alone
    return after


def _edited(text: str, root: yaml.Node | None, index: int, word: str, value: str) -> str | None:
    """The text with the value in it; None where there is no place for it."""
    line_end = "\r\n" if "\r\n" in text else "\n"
    words = _get(root, "words")
    if words is None or isinstance(words[1], yaml.ScalarNode):
        entry = f"  - word: {_quoted(word)}{line_end}    threshold: {value}{line_end}"
        return _with_entry(text, root, words, entry, line_end)
    mapping = words[1].value[index]
    threshold = _get(mapping, "threshold")
    if threshold is not None:
        node = threshold[1]
        return f"{text[: node.start_mark.index]}{value}{text[node.end_mark.index :]}" if node.value else None
    key, name = mapping.value[0]
    if mapping.flow_style:
        end = mapping.value[-1][1].end_mark.index
        return f"{text[:end]}, threshold: {value}{text[end:]}"
    column = key.start_mark.column
    if name.start_mark.line == name.end_mark.line:  # below the entry's name and the comment behind it
        return _insert_line(text, name.end_mark.index, f"{' ' * column}threshold: {value}{line_end}", line_end)
    begin = key.start_mark.index
    return f"{text[:begin]}threshold: {value}{line_end}{' ' * column}{text[begin:]}"


def _with_entry(
    text: str, root: yaml.Node | None, words: tuple[yaml.Node, yaml.Node] | None, entry: str, line_end: str
) -> str | None:
    """The text with a first entry in the list of words, which it lacks or has empty."""
    if words is not None:  # ``words:`` with nothing behind it
        return None if words[1].value else _insert_line(text, words[0].end_mark.index, entry, line_end)
    if isinstance(root, yaml.MappingNode) and root.flow_style:
        return None
    if text and not text.endswith("\n"):
        text += line_end
    return f"{text}{line_end if text.strip() else ''}words:{line_end}{entry}"


def _insert_line(text: str, place: int, line: str, line_end: str) -> str:
    """The text with a line more, after the one in which the place lies."""
    end = text.find("\n", place)
    return f"{text}{line_end}{line}" if end < 0 else f"{text[: end + 1]}{line}{text[end + 1 :]}"


def _get(node: yaml.Node | None, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((pair for pair in node.value if pair[0].value == key), None)


def _quoted(word: str) -> str:
    """A word as YAML text: in quotes unless it is sure to be read as it stands."""
    plain = re.fullmatch(r"[A-Za-z][\w ]*", word) and yaml.safe_load(word) == word
    return word if plain else json.dumps(word, ensure_ascii=False)
