"""`chimed monitor`: serves a page for this machine's own browser that shows a running chimed at work.

A process of its own, which speaks to the daemon's control socket: the daemon pays for the page only while someone looks
at it, and the page cannot do more than its user can. The server is the `websockets` package: to GET it answers
with what `Site` has, and all else, every change among it, goes through the one WebSocket.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import secrets
import signal
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from daemon.control.client import ask
from daemon.monitor.control_bridge import ControlBridge
from daemon.system.errors import ChimedError
from daemon.system.terminal import say
from model.extras import install

if TYPE_CHECKING:
    from websockets.asyncio.server import ServerConnection
    from websockets.http11 import Request, Response

VIEWERS = 4
MESSAGE_LIMIT = 4_096  # bytes of what a page says
OPENING = 5.0  # s that a client may take to say what it wants

ASSETS = {
    "": ("monitor.html", "text/html; charset=utf-8"),
    "monitor.css": ("monitor.css", "text/css; charset=utf-8"),
    "monitor.js": ("monitor.js", "text/javascript; charset=utf-8"),
    "drawing.js": ("drawing.js", "text/javascript; charset=utf-8"),
    "icon.svg": ("icon.svg", "image/svg+xml"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "media-src blob:; connect-src 'self' ws://{host}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Connection": "close",
}


def command(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C. Raises ChimedError: the extra is missing, no chimed runs, the port is taken."""
    try:
        import websockets  # noqa: F401 - an extra
    except ImportError as error:
        raise ChimedError(f"the monitor needs the package websockets: {install('monitor')}") from error
    ask(args.socket, "status")  # says at once if there is nothing to look at
    asyncio.run(_serve(args.socket, args.port))
    return 0


async def _serve(socket: Path | None, port: int) -> None:
    from websockets.asyncio.server import serve

    site = Site(socket)
    # what a stranger sends is no news; and nothing about a token may stand in a log
    silent = logging.getLogger("daemon.monitor.server.websockets")
    silent.setLevel(logging.CRITICAL)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        server = await serve(
            site.view,
            "127.0.0.1",
            port,
            process_request=site.answer,
            compression=None,  # nothing leaves the machine
            server_header=None,
            max_size=MESSAGE_LIMIT,
            open_timeout=OPENING,
            logger=silent,
        )
    except OSError as error:
        raise ChimedError(f"port {port}: {error.strerror or error}") from error
    async with server:
        site.port = next(iter(server.sockets)).getsockname()[1]
        say(f"http://127.0.0.1:{site.port}/{site.token}/")
        await stop.wait()


class Site:
    """What may be asked for, by whom: the token in the address, and a host and an origin that are this machine's."""

    def __init__(self, socket: Path | None) -> None:
        self.token = secrets.token_urlsafe(24)
        self.port = 0
        self._socket = socket
        self._viewers = 0

    @property
    def hosts(self) -> tuple[str, ...]:
        """What the header Host may say: another name would be one that someone else made point here."""
        return (f"127.0.0.1:{self.port}", f"localhost:{self.port}")

    def answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """The page or a part of it, a refusal, or None: the WebSocket may begin."""
        if getattr(request, "method", "GET") != "GET":  # before its version 16 the package itself refused them
            return _plain(connection, 405, "only GET is answered")
        hosts = request.headers.get_all("Host")
        if len(hosts) != 1 or hosts[0] not in self.hosts:
            return _plain(connection, 403, "this page is for the machine itself alone")
        token, _, name = request.path.removeprefix("/").partition("/")
        if not secrets.compare_digest(token.encode(errors="replace"), self.token.encode()):
            return _plain(connection, 404, "not found; `chimed monitor` prints the address, which changes each time")
        if name == "live":
            return self._refusal(connection, request, hosts[0])
        if name not in ASSETS:
            return _plain(connection, 404, "not found")
        file, kind = ASSETS[name]
        return _response(connection, 200, (files("daemon.monitor") / "assets" / file).read_bytes(), kind, hosts[0])

    def _refusal(self, connection: ServerConnection, request: Request, host: str) -> Response | None:
        """Why this WebSocket may not begin."""
        if request.headers.get_all("Origin") != [f"http://{host}"]:
            return _plain(connection, 403, "only the monitor's own page may ask this")
        if self._viewers >= VIEWERS:
            return _plain(connection, 503, f"the monitor is open {VIEWERS} times already")
        return None

    async def view(self, connection: ServerConnection) -> None:
        """One open page, to its end: what it asks, one thing after the other."""
        from websockets.exceptions import ConnectionClosed

        self._viewers += 1
        bridge = ControlBridge(self._socket)
        try:
            async for message in connection:
                await connection.send(await bridge.answer(message))
        except ConnectionClosed:
            pass  # in the middle of something
        finally:
            self._viewers -= 1
            bridge.close()


def _plain(connection: ServerConnection, status: int, text: str) -> Response:
    return _response(connection, status, f"{text}\n".encode(), "text/plain; charset=utf-8", "")


def _response(connection: ServerConnection, status: int, body: bytes, kind: str, host: str) -> Response:
    response = connection.respond(status, "")
    response.body = body
    for name in ("Content-Type", "Content-Length", "Connection"):
        with contextlib.suppress(KeyError):
            del response.headers[name]
    response.headers.update({name: value.replace("{host}", host) for name, value in HEADERS.items()})
    response.headers["Content-Type"] = kind
    response.headers["Content-Length"] = str(len(body))
    return response
