"""`chimed run`: puts the parts together, listens until the stream ends or a signal comes, takes them apart."""

from __future__ import annotations

import argparse
import logging
import os
import signal
from collections.abc import Sequence
from types import FrameType
from typing import TYPE_CHECKING

from daemon import config, logs, words
from daemon.audio import Source, open_input, paced
from daemon.chime import ChimePlayer
from daemon.console import silence_libraries
from daemon.errors import ChimedError, UsageError
from daemon.hooks import HookRunner
from daemon.microphone import Microphone
from daemon.notify import Notifier
from daemon.portaudio import PortAudio
from daemon.service import Service
from daemon.wyoming_options import Options
from model.modelfile import Model

if TYPE_CHECKING:
    from daemon.wyoming_run import WyomingThread

LAST_CHIME = 0.8  # s that a chime gets to end before the daemon does
STOPPING = (signal.SIGTERM, signal.SIGINT)
LAST_CALL = 0.2  # s that a hanging sound server gets

log = logging.getLogger(__name__)


def command(args: argparse.Namespace) -> int:
    """Listen as the command line says; the exit code. Raises UsageError before anything starts."""
    _check(args)
    if args.log_level != "debug":
        silence_libraries()
    logs.setup(args.log_level or "info")
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
    if not portaudio.idle(LAST_CALL):
        # an orderly exit terminates PortAudio, which then hangs with the sound server or crashes
        logging.shutdown()
        os._exit(code)
    return code


def _listen(args: argparse.Namespace, portaudio: PortAudio) -> int:
    settings = words.chosen(config.load(args.config), args.model, args.threshold)
    logging.getLogger().setLevel((args.log_level or settings.log_level).upper())
    models = words.load_models(settings.words)
    responses = words.responses(settings, models)
    source = _source(args, settings.audio, portaudio)
    satellites = _satellites(settings.wyoming, models)
    hooks, notifier = HookRunner(settings.hooks_at_once), Notifier()
    player = None if args.no_chime or args.fast else ChimePlayer(portaudio)
    try:
        service = Service(source, models, responses, player, hooks, notifier)
        pace = args.input is not None and not args.fast
        service.run(paced(source.blocks()) if pace else source.blocks())
        log.info("end of %s: %.1f s, %d heard", source.name, service.seconds, service.detections)
        hooks.wait()
    finally:
        _ignore_signals()
        notifier.send(STOPPING=1)
        hooks.close()
        if player is not None:
            player.wait(LAST_CHIME)
        source.close()
        if satellites is not None:
            satellites.close()
        notifier.close()
    return 0


def _satellites(options: Options | None, models: Sequence[Model]) -> WyomingThread | None:
    """The Wyoming service, where it is configured. Raises ChimedError if it cannot start."""
    if options is None:
        return None
    from daemon.wyoming_run import WyomingThread  # most listen to a microphone alone

    return WyomingThread(models, options)


def _source(args: argparse.Namespace, audio: config.Audio, portaudio: PortAudio) -> Source:
    if args.input is None:
        named = args.device is not None  # by someone who is here to read that there is no such device
        device = args.device if named else audio.device
        return Microphone(portaudio, device, audio.channel, audio.gain, patient=not named)
    return open_input(args.input, args.rate, live=not args.fast)


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

    for number in STOPPING:
        signal.signal(number, stop)


def _ignore_signals() -> None:
    """While the parts are taken down, within seconds, another Ctrl-C must not leave half of them standing."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
