"""Holds and checks how the Wyoming service is to be offered, as command line and configuration say."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from daemon.system.errors import UsageError

PORT = 10_400  # where clients look for a wake-word service
SERVICE_NAME = "chimed"  # under which it is announced, unless another is given
LOUDEST, SUREST = "loudest", "surest"
CHOICES = (LOUDEST, SUREST)
STREAMS_RANGE = (1, 10_000)
IDLE_RANGE = (1, 86_400)  # s
ARBITRATION_RANGE = (0, 5_000)  # ms


@dataclass(frozen=True)
class Address:
    """Where clients connect: TCP host and port, the path of a Unix socket, or neither: standard input and output."""

    host: str = ""
    port: int = PORT
    path: Path | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix://{self.path}"
        return f"tcp://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}" if self.host else "stdio://"

    @property
    def public(self) -> bool:
        """Whether other machines can reach it."""
        return bool(self.host) and self.host not in {"localhost", "::1"} and not self.host.startswith("127.")


@dataclass(frozen=True)
class WyomingOptions:
    """All that can be chosen.

    uri: what `parse_uri` understands; max_streams: at once; idle_timeout: s without a whole event from a client;
    zeroconf: the name under which the service is announced, None for silence; arbitrate_ms: how long to wait for
    other streams that hear the same word, 0: not at all; arbitrate_by: one of CHOICES.
    """

    uri: str = f"tcp://127.0.0.1:{PORT}"
    max_streams: int = 32
    idle_timeout: float = 300.0
    zeroconf: str | None = None
    arbitrate_ms: int = 0
    arbitrate_by: str = LOUDEST


def parse_uri(uri: str) -> Address:
    """``tcp://HOST[:PORT]``, ``unix://PATH`` or ``stdio://``. Raises UsageError."""
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme not in {"tcp", "unix", "stdio"}:
        raise UsageError(f"{uri!r} is no address of a service: use tcp://HOST:PORT, unix://PATH or stdio://")
    if scheme == "stdio":
        return Address()
    if scheme == "unix":
        if not rest:
            raise UsageError(f"{uri!r} names no path: use unix:///run/chimed/wyoming.sock, for example")
        try:
            return Address(path=Path(rest).expanduser())
        except RuntimeError as error:
            raise UsageError(f"{uri!r}: there is no such home folder") from error
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{uri!r} is no address of a service ({error})") from error
    if not host or parts.path.strip("/") or parts.query or parts.username:
        raise UsageError(f"{uri!r} is no address of a service: use tcp://HOST:PORT, such as tcp://0.0.0.0:{PORT}")
    return Address(host, PORT if port is None else port)


def check(options: WyomingOptions) -> None:
    """Raises UsageError for what is not understood or cannot go together."""
    address = parse_uri(options.uri)
    if options.arbitrate_ms >= options.idle_timeout * 1000:
        raise UsageError(
            f"a client waits {options.arbitrate_ms} ms for an answer, and is dropped after {options.idle_timeout:g} s: "
            "choose a longer idle time-out or a shorter arbitration"
        )
    if options.zeroconf is not None and not address.public:
        raise UsageError(
            f"zeroconf tells other machines of an address that they can reach, and {address} is none: "
            f"use tcp://0.0.0.0:{PORT}"
        )
