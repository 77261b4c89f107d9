"""Serves Wyoming clients over TCP, a Unix socket or standard input and output, all beside each other.

All run in one thread and share one copy of the weights.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import socket
import stat
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from wyoming.info import Attribution, Info, WakeModel, WakeProgram

import daemon
from daemon.config.wyoming_options import Address, WyomingOptions, parse_uri
from daemon.system.errors import ChimedError
from daemon.wyoming.arbitration import Arbiter
from daemon.wyoming.backlog import Backlog
from daemon.wyoming.connection import Connection
from daemon.wyoming.framing import LINE_BYTES_LIMIT, encode
from daemon.wyoming.stream import AudioStreamSession, WordSet
from model.modelfile import Model

IDLE_CONNECTIONS = 32  # connections beyond those that stream: they only ask what is offered, or wait
RECEIVE_BUFFER = 65_536  # bytes in the kernel for each client; a question behind 2 s of audio is still answered in time
TURNS = 4  # pieces of sound, 3 ms with one word, that are heard before newcomers are looked at
KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 15), (socket.TCP_KEEPCNT, 4))  # s, s, probes

log = logging.getLogger(__name__)


class WyomingServer:
    """Serves these models. Use: `await start()`, `await finished()` as long as it shall last, `await close()`."""

    def __init__(self, models: Sequence[Model], options: WyomingOptions) -> None:
        self.options = options
        self.arbiter = Arbiter(options.arbitrate_ms / 1000)
        self.backlog = Backlog()
        self.turns = asyncio.Semaphore(TURNS)
        self.info = encode(describe(models).event())
        self.models = tuple(models)
        self._address = parse_uri(options.uri)
        self._words = WordSet(models)
        self._streams: set[Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._count = 0  # connections so far

    def adopt(self, models: Sequence[Model]) -> None:
        """Serve other models from now on. In the thread that serves."""
        self.models = tuple(models)
        self.info = encode(describe(models).event())
        self._words.replace(models)

    # what connections ask

    def admit(self, connection: Connection) -> bool:
        """Whether there is room for one more stream, which from now on is this one's."""
        if connection not in self._streams and len(self._streams) >= self.options.max_streams:
            return False
        self._streams.add(connection)
        return True

    @property
    def streams(self) -> int:
        """How many there are."""
        return len(self._streams)

    def release(self, connection: Connection) -> None:
        """Its stream is over."""
        self._streams.discard(connection)
        self.backlog.forget(connection)

    def rivals(self, connection: Connection, word: str) -> bool:
        """Whether another stream listens for the word."""
        return any(other is not connection and other.listens_for(word) for other in self._streams)

    # its life

    async def start(self) -> Address:
        """Listen; the address, with the port that the system chose for port 0. Raises ChimedError."""
        address = self._address
        try:
            if address.path is not None:
                self._server = await _listen_at_path(self._serve, address.path)
            elif address.host:
                self._server = await asyncio.start_server(
                    self._serve, address.host, address.port, limit=LINE_BYTES_LIMIT, start_serving=False
                )
                for listener in self._server.sockets:
                    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
                await self._server.start_serving()
                address = Address(address.host, self._server.sockets[0].getsockname()[1])
            else:
                self._track(asyncio.create_task(self._serve(*await _standard_streams())))
        except (OSError, OverflowError) as error:  # OverflowError: a port above 65535
            raise ChimedError(f"cannot serve at {address}: {_reason(error)}") from error
        return address

    async def finished(self) -> None:
        """Returns once there is nothing more to serve: where the only client came over standard input and left."""
        if self._server is not None:
            await asyncio.Event().wait()
        elif self._tasks:
            await asyncio.wait(self._tasks)

    async def close(self) -> None:
        """Take leave of all clients."""
        if self._server is not None:
            self._server.close()
            if self._address.path is not None:
                self._address.path.unlink(missing_ok=True)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._track(task)
        self._count += 1
        name = _name(writer, self._count)
        if len(self._tasks) > self.options.max_streams + IDLE_CONNECTIONS:
            log.warning("%s: %d connections are open already; closed", name, len(self._tasks) - 1)
            writer.transport.abort()
            return
        log.debug("%s connected", name)
        try:
            await Connection(self, AudioStreamSession(self._words), reader, writer, name).serve()
        except asyncio.CancelledError:
            pass  # by `close`
        except Exception:  # a fault in one client's code path must not end the others' service
            log.exception("%s: unexpected error", name)
            writer.transport.abort()
        log.debug("%s disconnected", name)

    def _track(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def describe(models: Sequence[Model]) -> Info:
    """What is answered to `describe`. A word's name is the word itself: clients compare it with each detection's."""
    own = Attribution(name="chimed", url="")
    offered = [
        WakeModel(
            name=model.word,
            attribution=own,
            installed=True,
            description=model.word,
            version=None,
            languages=[],
            phrase=model.word,
        )
        for model in models
    ]
    program = WakeProgram(
        name="chimed",
        attribution=own,
        installed=True,
        description="Hears wake words on this machine, offline",
        version=daemon.__version__,
        models=offered,
    )
    return Info(wake=[program])


async def _listen_at_path(serve: Callable[..., Any], path: Path) -> asyncio.Server:
    """Listen at a path where no one else does. Raises OSError."""
    if path.exists() or path.is_symlink():
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise FileExistsError(0, "there is something else at this path")
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == 0:
                raise FileExistsError(0, "another service listens there already")
        path.unlink()  # left over from one that was killed
    return await asyncio.start_unix_server(serve, path, limit=LINE_BYTES_LIMIT)


async def _standard_streams() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Standard input and output as one connection. Raises OSError where either is a file, or the input /dev/null."""
    loop = asyncio.get_running_loop()
    reader, unused = asyncio.StreamReader(LINE_BYTES_LIMIT), asyncio.StreamReader()
    try:
        with select.epoll() as probe:  # asyncio finds out too late that /dev/null cannot be waited for
            probe.register(sys.stdin.buffer, select.EPOLLIN)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin.buffer)
        transport, protocol = await loop.connect_write_pipe(
            lambda: asyncio.StreamReaderProtocol(unused), sys.stdout.buffer
        )
    except (ValueError, AttributeError, PermissionError) as error:
        raise OSError(0, "standard input and output must be pipes or sockets") from error
    return reader, asyncio.StreamWriter(transport, protocol, unused, loop)


def _name(writer: asyncio.StreamWriter, number: int) -> str:
    """A client's address, or its number where it has none; dead machines are noticed from here on."""
    connection = writer.get_extra_info("socket")
    peer = writer.get_extra_info("peername")
    if connection is None or connection.family == socket.AF_UNIX or not peer:
        return f"client {number}"
    with contextlib.suppress(OSError):  # gone already
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
    return f"{peer[0]}:{peer[1]}"


def _reason(error: Exception) -> str:
    """Why, without the ornaments that asyncio adds."""
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return getattr(error, "strerror", None) or str(error)
