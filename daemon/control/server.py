"""Serves the control socket: requests of other processes, answers and events, one JSON object a line.

One thread waits for clients, and each client has one for as long as it is there, so that nothing runs while no one
is. What is asked is done elsewhere: `handle` gets the request and gives the answer. Whatever a client sends, or does
not read, costs a few kilobytes and its own connection.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import socket
import stat
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from daemon.system.errors import ChimedError

SYSTEM_SOCKET = Path("/run/chimed/control.sock")
CLIENTS = 16
REQUEST_BYTES_LIMIT = 4_096  # bytes of a request
EVENTS_LIMIT = 64  # that wait for a client, 5 s of them
CLIENT_IDLE_SECONDS = 30.0  # s that a client may say nothing, or read nothing

NO_REQUEST = f"a request is one JSON object in a line of less than {REQUEST_BYTES_LIMIT} bytes"

Request = dict[str, Any]
Answer = Mapping[str, Any]

log = logging.getLogger(__name__)


def socket_path() -> Path | None:
    """Where the socket lies: in the folder that systemd made, or the user's, or root's; None where there is none."""
    if given := os.environ.get("RUNTIME_DIRECTORY"):
        folder = Path(given.partition(":")[0])
    elif given := os.environ.get("XDG_RUNTIME_DIR"):
        folder = Path(given, "chimed")
    elif os.geteuid() == 0:
        return SYSTEM_SOCKET
    else:
        return None
    return folder / "control.sock"


class ControlServer:
    """A socket at this path that its user alone can open. Raises ChimedError where it cannot be.

    path: None for no socket, until it shall `move`.
    """

    def __init__(self, path: Path | None) -> None:
        self._place = _ListeningSocket(path) if path is not None else None
        self._handle: Callable[[Request], Answer] | None = None
        self._clients: set[socket.socket] = set()
        self._watchers: set[queue.Queue[Answer]] = set()
        self._closed = threading.Event()
        self._lock = threading.Lock()  # around the two sets

    @property
    def path(self) -> Path | None:
        """Where it is."""
        return self._place.path if self._place is not None else None

    def start(self, handle: Callable[[Request], Answer]) -> None:
        """Serve from now on. handle: called in a client's thread, so that it may wait."""
        self._handle = handle
        self._serve_place()

    def move(self, path: Path | None) -> None:
        """Be at another path from now on. Raises ChimedError; then it is where it was.

        Who is connected stays; for None each gets the answer it waits for, and no other.
        """
        if path == self.path:
            return
        place = _ListeningSocket(path) if path is not None else None
        if self._place is not None:
            self._place.leave()
        self._place = place
        self._serve_place()
        if place is None:
            self._dismiss(socket.SHUT_RD)

    def _serve_place(self) -> None:
        if self._place is not None and self._handle is not None:
            threading.Thread(target=self._accept, args=(self._place,), name="control", daemon=True).start()

    @property
    def watched(self) -> bool:
        """Whether anyone wants events."""
        return bool(self._watchers)

    def publish(self, event: Answer) -> None:
        """An event to all who watch, without waiting; who is far behind is cut off."""
        with self._lock:
            for events in list(self._watchers):
                try:
                    events.put_nowait(event)
                except queue.Full:
                    self._watchers.discard(events)

    def close(self) -> None:
        """End all connections and remove the socket."""
        self._closed.set()
        if self._place is not None:
            self._place.leave()
        self._dismiss(socket.SHUT_RDWR)

    def _dismiss(self, how: int) -> None:
        with self._lock:
            self._watchers.clear()
            for each in self._clients:
                with contextlib.suppress(OSError):
                    each.shutdown(how)  # wakes the thread that waits for it

    # in threads

    def _accept(self, place: _ListeningSocket) -> None:
        with place.listening:
            while not place.left.is_set():
                try:
                    client, _ = place.listening.accept()
                    threading.Thread(target=self._serve, args=(client,), name="control", daemon=True).start()
                except (OSError, RuntimeError):  # closed; or no descriptor, no thread to spare: it may be soon
                    place.left.wait(1.0)

    def _serve(self, client: socket.socket) -> None:
        """One client, to its end."""
        with self._lock:
            full = len(self._clients) >= CLIENTS
            self._clients.add(client)
        try:
            with client, client.makefile("rb") as lines:
                client.settimeout(CLIENT_IDLE_SECONDS)
                if self._closed.is_set():
                    return
                if full:
                    _send(client, {"error": f"there are {CLIENTS} clients already"})
                    return
                assert self._handle is not None
                while line := lines.readline(REQUEST_BYTES_LIMIT):
                    request = _parse(line)
                    _send(client, self._handle(request) if request else {"error": NO_REQUEST})
                    if not line.endswith(b"\n"):
                        return  # a line that long, or the end
                    if request and request.get("command") == "watch":
                        self._send_events(client)
                        return
        except OSError:
            pass  # it went away, or was silent for too long
        finally:
            with self._lock:
                self._clients.discard(client)

    def _send_events(self, client: socket.socket) -> None:
        events: queue.Queue[Answer] = queue.Queue(EVENTS_LIMIT)
        with self._lock:
            self._watchers.add(events)
        try:
            while events in self._watchers and not self._closed.is_set():
                with contextlib.suppress(queue.Empty):
                    _send(client, events.get(timeout=1.0))
        finally:
            with self._lock:
                self._watchers.discard(events)


class _ListeningSocket:
    """A socket that listens at this path. Raises ChimedError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listening = _bind(path)
        self.left = threading.Event()
        self._inode = path.stat().st_ino

    def leave(self) -> None:
        """Listen no more, and remove the file."""
        self.left.set()
        with contextlib.suppress(OSError):
            if self.path.stat().st_ino == self._inode:  # by now it could be another daemon's
                self.path.unlink()
        with contextlib.suppress(OSError):
            self.listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for it


def _parse(line: bytes) -> Request | None:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return request if isinstance(request, dict) else None


def _send(client: socket.socket, answer: Answer) -> None:
    client.sendall(json.dumps(answer).encode() + b"\n")


def _bind(path: Path) -> socket.socket:
    """A listening socket in the file system, 0600 from the first moment on. Raises ChimedError."""
    listening = socket.socket(socket.AF_UNIX)
    os.fchmod(listening.fileno(), 0o600)  # bind() takes the mode of the file from here
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISSOCK(path.lstat().st_mode):
                _remove_dead(path)
        listening.bind(str(path))
        listening.listen(CLIENTS)
    except OSError as error:
        listening.close()
        raise ChimedError(f"{path}: {error.strerror or error}") from error
    return listening


def _remove_dead(path: Path) -> None:
    """Remove the socket of a daemon that is gone. Raises OSError if it is not."""
    with socket.socket(socket.AF_UNIX) as attempt:
        try:
            attempt.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
        else:
            raise OSError("another chimed listens there")
