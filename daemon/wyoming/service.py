"""`chimed wyoming`, and the same service in a thread beside the microphone."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import logging
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from daemon.config import settings as config
from daemon.config.wyoming_options import WyomingOptions, check
from daemon.listening import listening_plan
from daemon.system import log_handlers
from daemon.system.errors import ChimedError
from daemon.system.sd_notify import Notifier
from model.extras import install
from model.modelfile import Model

if TYPE_CHECKING:
    from daemon.wyoming.server import WyomingServer

PACKAGE_MISSING = f"the Wyoming service needs the package {{0}}: {install('wyoming')}"
SIGN_OF_LIFE_SECONDS = 2.0  # s between two signs of life for systemd
CLOSE_TIMEOUT_SECONDS = 5.0  # s

log = logging.getLogger(__name__)


def command(args: argparse.Namespace) -> int:
    """Serve until a signal comes, or, over standard input, until it ends. Raises ChimedError."""
    settings = listening_plan.with_overrides(config.load(args.config), args.model, args.threshold)
    options = _options(args, settings.wyoming or WyomingOptions())
    check(options)
    require(options)
    log_handlers.setup(args.log_level or settings.log_level)
    models = listening_plan.load_models(settings.words)
    return asyncio.run(_run(models, options))


def _options(args: argparse.Namespace, configured: WyomingOptions) -> WyomingOptions:
    """What is configured, as the command line overrides it."""
    given = {field.name: getattr(args, field.name) for field in dataclasses.fields(WyomingOptions)}
    return dataclasses.replace(configured, **{name: value for name, value in given.items() if value is not None})


def require(options: WyomingOptions) -> None:
    """Raises ChimedError where the packages are missing that these options need."""
    try:
        import wyoming  # noqa: F401 - an extra
    except ImportError as error:
        raise ChimedError(PACKAGE_MISSING.format("wyoming")) from error
    if options.zeroconf is None:
        return
    try:
        import zeroconf  # noqa: F401 - an extra
    except ImportError as error:
        raise ChimedError(PACKAGE_MISSING.format("zeroconf")) from error


async def serve(server: WyomingServer, options: WyomingOptions, ready: Any = None) -> None:
    """Serve and announce, until cancelled or finished. ready: called with the address once clients can come."""
    from daemon.wyoming.discovery import announced

    address = await server.start()
    try:
        wanted = ", ".join(f'"{model.word}" (threshold {model.threshold:g})' for model in server.models)
        log.info("serving at %s, for %s", address, wanted)
        if ready is not None:
            ready(address)
        async with announced(options.zeroconf, address):
            await server.finished()
    finally:
        await server.close()


async def _run(models: Sequence[Model], options: WyomingOptions) -> int:
    from daemon.wyoming.server import WyomingServer

    notifier = Notifier()
    alive = asyncio.create_task(_stay_alive(notifier))
    serving = asyncio.create_task(
        serve(
            WyomingServer(models, options),
            options,
            lambda address: notifier.send(READY=1, STATUS=f"serving at {address}"),
        )
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        log.info("stopped")
    finally:
        notifier.send(STOPPING=1)
        alive.cancel()
        notifier.close()
    return 0


async def _stay_alive(notifier: Notifier) -> None:
    while True:
        notifier.send(WATCHDOG=1)
        await asyncio.sleep(SIGN_OF_LIFE_SECONDS)


class WyomingThread:
    """The service beside the microphone. Raises ChimedError if it cannot start."""

    def __init__(self, models: Sequence[Model], options: WyomingOptions) -> None:
        require(options)
        from daemon.wyoming.server import WyomingServer

        self.models, self.options = models, options
        started: Future[Any] = Future()
        self._stop: Callable[[], object] = lambda: None
        self._adopt: Callable[[Sequence[Model]], object] = lambda _models: None
        server = WyomingServer(models, options)

        async def run() -> None:
            task = asyncio.current_task()
            assert task is not None
            loop = asyncio.get_running_loop()
            self._stop = lambda: loop.call_soon_threadsafe(task.cancel)
            self._adopt = lambda models: loop.call_soon_threadsafe(server.adopt, models)
            await serve(server, options, started.set_result)

        def work() -> None:
            try:
                asyncio.run(run())
            except asyncio.CancelledError:
                pass
            except Exception as error:  # handed to the thread that waits, whatever it is
                if started.done():
                    log.exception("the Wyoming service ended")
                else:
                    started.set_exception(error)

        self._thread = threading.Thread(target=work, name="wyoming", daemon=True)
        self._thread.start()
        started.result()

    def adopt(self, models: Sequence[Model]) -> None:
        """Serve other models from now on; streams go on, but for the word that is being said in one of them."""
        if list(map(_identity, models)) == list(map(_identity, self.models)):
            return  # and no stream is disturbed
        self.models = models
        with contextlib.suppress(RuntimeError):
            self._adopt(models)

    def close(self) -> None:
        """End the service, within seconds."""
        with contextlib.suppress(RuntimeError):  # it ended by itself, and said why
            self._stop()
        self._thread.join(CLOSE_TIMEOUT_SECONDS)


def _identity(model: Model) -> tuple[object, ...]:
    """What decides about what a model hears."""
    return model.word, model.front_end, model.threshold, model.smoothing, model.suppression, model.fingerprint
