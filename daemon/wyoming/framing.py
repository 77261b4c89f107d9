"""Reads the headers and payloads of Wyoming events from a client's bytes, and writes events as bytes.

On the wire an event is a line of JSON, then ``data_length`` bytes of JSON, then ``payload_length`` bytes. The
`wyoming` package reads each as a whole, however long its sender says it is. Here none is held in memory that is
longer than LIMIT: a payload comes in pieces, as it arrives.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from wyoming.event import Event, write_event

from daemon.system.errors import ChimedError

LINE_BYTES_LIMIT = 65_536  # bytes of a line, and of the data after it
PAYLOAD_BYTES_LIMIT = 16 * 1024 * 1024  # bytes; more than a minute of any sound card: a length that is damaged


class ProtocolError(ChimedError):
    """What a client sent is not Wyoming; the text says in what way."""


@dataclass(frozen=True)
class Header:
    """An event without its payload, of which so many bytes follow."""

    type: str
    data: dict[str, Any]
    payload: int


async def read_header(reader: asyncio.StreamReader) -> Header | None:
    """The next event's header; None where the stream ends, be it in the middle of one.

    Raises ProtocolError. The reader's own limit must be LIMIT.
    """
    try:
        line = await reader.readline()
    except ValueError:
        raise ProtocolError(f"a line is longer than {LINE_BYTES_LIMIT} bytes") from None
    if not line.endswith(b"\n"):
        return None
    header = _object(line)
    kind = header.get("type")
    if not isinstance(kind, str):
        raise ProtocolError("an event has no type")
    data = header.get("data") or {}
    if not isinstance(data, dict):
        raise ProtocolError("an event's data are not a JSON object")
    length = _length(header, "data_length", LINE_BYTES_LIMIT)
    payload = _length(header, "payload_length", PAYLOAD_BYTES_LIMIT)
    if length:
        try:
            data |= _object(await reader.readexactly(length))
        except asyncio.IncompleteReadError:
            return None
    return Header(kind, data, payload)


async def read_payload(reader: asyncio.StreamReader, count: int, size: int) -> AsyncIterator[bytes]:
    """So many bytes, at most `size` at a time; fewer where the stream ends."""
    while count and (piece := await reader.read(min(size, count))):
        count -= len(piece)
        yield piece


def encode(event: Event) -> bytes:
    """An event as it goes over the wire."""
    buffer = io.BytesIO()
    write_event(event, buffer)
    return buffer.getvalue()


def _object(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # not JSON, not UTF-8, a number of a thousand digits; a thousand brackets
        raise ProtocolError("an event is not JSON") from None
    if not isinstance(value, dict):
        raise ProtocolError("an event is not a JSON object")
    return value


def _length(header: dict[str, Any], name: str, limit: int) -> int:
    value = header.get(name)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= limit:
        raise ProtocolError(f"{name} is {str(value)[:40]}, not a whole number from 0 to {limit}")
    return value
