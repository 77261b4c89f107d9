"""Passes what a page of the monitor asks on to the daemon, as JSON; what it may ask is listed here.

A message is ``{"id": …, "command": …}`` with the command's arguments; the answer is ``{"id": …, "answer": …}``, which
holds ``error``, one sentence, if it could not be done.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from daemon.control.client import REPLY_TIMEOUT_SECONDS, ControlError, no_answer, usual_path
from daemon.system.errors import ChimedError

PASSED_ON = {"window", "samples", "mute", "unmute"}
THRESHOLD_TOLERANCE = 1e-3  # between a threshold as it was wished and as it was written
ANSWER_BYTES_LIMIT = 4_000_000  # bytes of an answer; 10 s of samples are 1.2 million


class ControlBridge:
    """One page's way to the daemon, made when it is first needed, and anew when the daemon was."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def answer(self, message: str | bytes) -> str:
        """The answer to a message of the page."""
        number = None
        try:
            request = json.loads(message)
            number = int(request.pop("id"))
            return f'{{"id": {number}, "answer": {await self._do(request)}}}'
        except ChimedError as error:
            text = str(error)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            text = "this is not what the monitor's page asks"
        return json.dumps({"id": number, "answer": {"error": text}})

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _do(self, request: dict[str, Any]) -> str:
        if request["command"] == "save":
            if not 0.0 <= request["threshold"] <= 1.0:
                raise ValueError
            file = await self._save(str(request["word"]), float(request["threshold"]))
            return json.dumps({"file": file})
        if request["command"] not in PASSED_ON:
            raise ValueError
        return await self._ask(request)

    async def _ask(self, request: dict[str, Any]) -> str:
        """The daemon's answer, one line of JSON. Raises ControlError."""
        fresh = self._streams is None
        try:
            return await asyncio.wait_for(self._converse(request), REPLY_TIMEOUT_SECONDS)
        except (OSError, EOFError, ValueError, TimeoutError) as error:
            self.close()
            if fresh or isinstance(error, TimeoutError):
                raise no_answer(self._path or usual_path(), error) from error
        return await self._ask(request)  # the daemon hung up long ago: it was restarted, or the page was hidden

    async def _converse(self, request: dict[str, Any]) -> str:
        if self._streams is None:
            path = str(self._path or usual_path())
            self._streams = await asyncio.open_unix_connection(path, limit=ANSWER_BYTES_LIMIT)
        reader, writer = self._streams
        writer.write(json.dumps(request).encode() + b"\n")
        await writer.drain()
        line = await reader.readline()
        if not line.endswith(b"\n"):
            raise ConnectionResetError(0, "chimed has stopped")
        return line[:-1].decode()

    async def _save(self, word: str, threshold: float) -> str:
        """Write a threshold into the configuration and have it read; the file. Raises ChimedError."""
        state = json.loads(await self._ask({"command": "window"}))
        entry = next((each for each in state.get("words", ()) if each["word"] == word), None)
        if entry is None:
            raise ControlError(f"chimed does not listen for {word!r} any more")
        if entry["fixed_by"]:
            raise ControlError(f"chimed was started with {entry['fixed_by']}, which overrides the configuration")
        file = await asyncio.to_thread(_write, Path(state["config"]), Path(entry["model"]), word, threshold)
        answer = json.loads(await self._ask({"command": "reload"}))
        if "error" in answer:
            raise ControlError(f"{file} was written, but {answer['error']}")
        state = json.loads(await self._ask({"command": "window"}))
        if not any(
            each["word"] == word and abs(each["threshold"] - threshold) < THRESHOLD_TOLERANCE for each in state["words"]
        ):
            raise ControlError(f"{file} was written, but the chimed that runs does not use it")
        return str(file)


def _write(path: Path, model: Path, word: str, threshold: float) -> Path:
    """Write into this file, which is made if it is not there; the file. Raises ConfigError."""
    from daemon.config import settings  # loads numpy, which nothing else here needs
    from daemon.config.edit_threshold import save_threshold

    # a file may have changed since the daemon read it
    words = settings.load(path).words if path.exists() else ()
    index = next((i for i, each in enumerate(words) if each.model.resolve() == model), 0 if not words else None)
    if index is None:
        raise ControlError(f"{path} does not name {model} any more")
    rounded = min(max(round(threshold, 4), 0.0), settings.HIGHEST_THRESHOLD)
    save_threshold(path, index, word, rounded)
    return path
