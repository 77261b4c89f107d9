"""`chimed run`: puts the parts together, listens until the stream ends or a signal comes, takes them apart."""

from __future__ import annotations

import argparse
import dataclasses
import faulthandler
import functools
import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import FrameType

from daemon.audio.mute import Mute
from daemon.audio.portaudio import PortAudio
from daemon.audio.sources import PIPE_SPEED, STDIN, Block, Source, open_input, paced
from daemon.audio.switchable_source import SwitchableSource
from daemon.cli.run_components import RunComponents, control_server, mute_file, open_microphone
from daemon.config import settings as config
from daemon.config.settings import Settings
from daemon.control.commands import ControlCommands
from daemon.listening import listening_plan
from daemon.listening.loop import ListeningLoop
from daemon.listening.reload import Reloader
from daemon.responses.chime import ChimePlayer
from daemon.responses.hooks import HookRunner
from daemon.system import log_handlers
from daemon.system.errors import ChimedError, UsageError
from daemon.system.sd_notify import Notifier
from daemon.system.terminal import reopen_closed, silence_libraries
from daemon.wyoming.embedded import EmbeddedService

LAST_CHIME = 0.8  # s that a chime gets to end before the daemon does
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
LAST_CALL = 0.2  # s that a hanging sound server gets

log = logging.getLogger(__name__)


def command(args: argparse.Namespace) -> int:
    """Listen as the command line says; the exit code. Raises UsageError before anything starts."""
    _check(args)
    reopen_closed()
    if args.log_level != "debug":
        silence_libraries()
    log_handlers.setup(args.log_level or "info", limited=not args.fast)
    faulthandler.enable()  # says where it hung if systemd's watchdog ends it, or where a library crashed
    _stop_on_signals()
    portaudio = PortAudio()
    try:
        code = _listen(args, portaudio)
    except ChimedError as error:
        log.error("%s", error)
        code = error.exit_code
    except KeyboardInterrupt:
        log.info("stopped")
        code = 0
    except Exception:
        log.exception("this is a mistake in chimed")
        code = 1  # and no orderly exit if PortAudio would make it hang
    if not portaudio.idle(LAST_CALL):
        # an orderly exit terminates PortAudio, which then hangs with the sound server or crashes
        logging.shutdown()
        os._exit(code)
    return code


def _listen(args: argparse.Namespace, portaudio: PortAudio) -> int:
    settings = _settings(args)
    logging.getLogger().setLevel(settings.log_level.upper())
    plan = listening_plan.load_plan(settings)
    with ExitStack() as stack:  # takes the parts down in reverse order
        notifier = Notifier()
        stack.callback(notifier.close)
        wyoming = EmbeddedService()
        stack.callback(wyoming.close)
        wyoming.follow(settings.wyoming, plan.models)
        control = None if args.fast else control_server(settings.control)
        if control is not None:
            stack.callback(control.close)
        mute = Mute(mute_file(control.path) if control is not None else None)
        hooks = HookRunner(settings.hooks_at_once)
        stack.callback(hooks.close)
        source = _source(args, settings, portaudio, mute)
        stack.callback(source.close)
        player = None if args.no_chime or args.fast else ChimePlayer(portaudio)
        if player is not None:
            stack.callback(player.wait, LAST_CHIME)
        loop = ListeningLoop(source, plan, player, hooks, notifier, mute, alive=lambda: not portaudio.hung)
        open_new = functools.partial(open_microphone, args, portaudio)
        components = RunComponents(loop, source, hooks, wyoming, control, open_new)
        components.keep_clips(settings, plan)
        stack.callback(loop.close)
        reloader = Reloader(settings, lambda: _settings(args), components.follow, loop, notifier)
        _reload_on_signal(lambda: loop.ask(reloader.reload))
        if control is not None:
            control.start(ControlCommands(loop, control, reloader).handle)
        stack.callback(hooks.stop)  # they end while the rest is taken down
        stack.callback(notifier.send, STOPPING=1)
        stack.callback(_ignore_signals)
        try:
            loop.run(_blocks(args, source))
        except KeyboardInterrupt:
            mute.end()  # who stops it ends that too; a crash does not
            raise
        status = loop.status()
        log.info("end of %s: %.1f s, %d heard", source.name, status.seconds, status.detections)
        hooks.wait()
    return 0


def _settings(args: argparse.Namespace) -> Settings:
    """What is configured, as the command line overrides it. Raises ConfigError."""
    settings = listening_plan.with_overrides(config.load(args.config), args.model, args.threshold)
    return dataclasses.replace(settings, log_level=args.log_level or settings.log_level)


def _source(args: argparse.Namespace, settings: Settings, portaudio: PortAudio, mute: Mute) -> Source:
    if args.input is None:
        return SwitchableSource(open_microphone(args, portaudio, settings.audio), mute)
    return open_input(args.input, args.rate, live=not args.fast)


def _blocks(args: argparse.Namespace, source: Source) -> Iterator[Block]:
    if args.input is None or args.fast:
        return source.blocks()
    return paced(source.blocks(), speed=PIPE_SPEED if args.input == STDIN else 1.0)


def _check(args: argparse.Namespace) -> None:
    if args.input is None and args.fast:
        raise UsageError("--fast needs --input: a microphone cannot be hurried")
    if args.input is not None and args.device is not None:
        raise UsageError("--device and --input exclude each other")
    if args.rate is not None and args.input != "-":
        raise UsageError("--rate goes with --input - alone: a file says its rate itself")


def _stop_on_signals() -> None:
    """SIGTERM and Ctrl-C end whatever waits, once."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        _ignore_signals()
        raise KeyboardInterrupt

    for number in STOP_SIGNALS:
        signal.signal(number, stop)


def _ignore_signals() -> None:
    """While the parts are taken down, within seconds, another Ctrl-C must not leave half of them standing."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def _reload_on_signal(reload: Callable[[], None]) -> None:
    """SIGHUP reads the configuration again; from a terminal that was closed it ends the program, unless under nohup."""
    had_terminal = _has_terminal() and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN

    def hang_up(_number: int, _frame: FrameType | None) -> None:
        if had_terminal and not _has_terminal():
            signal.raise_signal(signal.SIGTERM)
        else:
            reload()

    signal.signal(signal.SIGHUP, hang_up)


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
