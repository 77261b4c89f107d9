"""Tells systemd how things stand: sd_notify(3), a datagram to the socket that $NOTIFY_SOCKET names."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping


class Notifier:
    """Tells the service manager how things stand; does nothing where there is none.

    Takes the variable out of the environment, so that hooks cannot speak for the daemon.
    """

    def __init__(self) -> None:
        address = os.environ.pop("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) if address else None
        self._waiting: list[Mapping[str, object]] = []  # for a manager that is busy

    def send(self, **fields: object) -> None:
        """Send fields such as ``READY=1, STATUS="listening"``, without waiting.

        What a busy manager has no room for comes with the next call, but for signs of life, which then are stale; a
        manager that does not listen is ignored.
        """
        if self._socket is None:
            return
        self._waiting.append(fields)
        while self._waiting:
            first = self._waiting.pop(0)  # before it is sent: after a signal it must not come twice
            message = "\n".join(f"{name}={value}" for name, value in first.items())
            try:
                self._socket.sendto(message.encode(), self._address)
            except BlockingIOError:
                self._waiting = [each for each in (first, *self._waiting) if set(each) != {"WATCHDOG"}]
                return
            except OSError:
                pass

    def close(self) -> None:
        """Release the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
