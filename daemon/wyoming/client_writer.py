"""Sends to one Wyoming client, who may read slowly, not at all, or be gone."""

from __future__ import annotations

import asyncio
import logging

from wyoming.error import Error

from daemon.wyoming.framing import LINE_BYTES_LIMIT, encode

SEND_LIMIT = 5.0  # s in which a client must read what it was sent
GOODBYE = 1.0  # s to take leave in

log = logging.getLogger(__name__)


class ClientWriter:
    """Waits for no client longer than it must. name: who it is, for the log."""

    def __init__(self, writer: asyncio.StreamWriter, name: str) -> None:
        self._writer = writer
        self._name = name

    @property
    def closing(self) -> bool:
        """Whether nothing more can be sent."""
        return self._writer.is_closing()

    def write(self, data: bytes) -> None:
        """Send without waiting."""
        self._writer.write(data)

    async def send(self, data: bytes) -> None:
        """Send, and wait as `drain` does."""
        self.write(data)
        await self.drain()

    async def drain(self) -> None:
        """Wait until it reads what it was sent. Raises ConnectionError if it does not."""
        try:
            async with asyncio.timeout(SEND_LIMIT):
                await self._writer.drain()
        except TimeoutError:
            log.warning("%s does not read what it is sent; closed", self._name)
            self._writer.transport.abort()
            raise ConnectionAbortedError from None

    async def take_leave(self, reason: str, reader: asyncio.StreamReader) -> None:
        """Tell it why, and read on for a moment: to close on unread data would also take the reason back."""
        try:
            async with asyncio.timeout(GOODBYE):
                self._writer.write(encode(Error(reason).event()))
                await self._writer.drain()
                if self._writer.can_write_eof():
                    self._writer.write_eof()
                while await reader.read(LINE_BYTES_LIMIT):
                    pass
        except (OSError, TimeoutError):
            pass

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()
        try:
            async with asyncio.timeout(GOODBYE):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._writer.transport.abort()
