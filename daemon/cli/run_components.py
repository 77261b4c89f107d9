"""Settings in, the parts of a running chimed that follow them out: at the start and after each reload."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path

from daemon.audio.microphone import Microphone
from daemon.audio.portaudio import PortAudio
from daemon.audio.switchable_source import Open, SwitchableSource
from daemon.config.settings import Audio, Control, Settings
from daemon.control.server import ControlServer, socket_path
from daemon.listening.listening_plan import ListeningPlan
from daemon.listening.loop import ListeningLoop
from daemon.responses.hooks import HookRunner
from daemon.system.errors import ChimedError
from daemon.wyoming.embedded import EmbeddedService

log = logging.getLogger(__name__)


class RunComponents:
    """What listens, answers and serves. control: None where there shall never be a socket."""

    def __init__(
        self,
        loop: ListeningLoop,
        hooks: HookRunner,
        wyoming: EmbeddedService,
        control: ControlServer | None,
        microphone: Callable[[Audio], Open],
    ) -> None:
        self._loop = loop
        self._hooks = hooks
        self._wyoming = wyoming
        self._control = control
        self._microphone = microphone

    def follow(self, old: Settings, new: Settings, plan: ListeningPlan) -> None:
        """On the loop's thread. Raises ChimedError where new ones cannot be in force; then the old ones are."""
        if self._control is not None and new.control != old.control:
            self._move(wanted_path(new.control))
        try:
            self._wyoming.follow(new.wyoming, plan.models)
        except ChimedError:
            if self._control is not None and new.control != old.control:
                self._move(wanted_path(old.control))
            raise
        self._loop.adopt(plan)
        logging.getLogger().setLevel(new.log_level.upper())
        self._hooks.at_once = new.hooks_at_once
        if new.audio != old.audio and isinstance(self._loop.source, SwitchableSource):
            self._loop.source.exchange(self._microphone(new.audio))
        self.keep(new)

    def _move(self, path: Path | None) -> None:
        assert self._control is not None
        self._control.move(path)
        self._loop.mute.move(mute_file(path))
        log.info("control socket: %s", path or "none")

    def keep(self, settings: Settings) -> None:
        """Keep clips as these settings want it, of what the loop listens for now."""
        if self._loop.keeper is not None:
            self._loop.keeper.stop()
            self._loop.keeper = None
        if settings.clips.folder is not None:
            from daemon.responses.clip_recorder import ClipRecorder  # most keep none

            self._loop.keeper = ClipRecorder(settings.clips, self._loop.plan.models)


def open_microphone(args: argparse.Namespace, portaudio: PortAudio, audio: Audio) -> Open:
    """What opens the microphone that the command line names, else this configuration."""
    named = args.device is not None  # by someone who is here to read that there is no such device
    device = args.device if named else audio.device
    return lambda patient, heard: Microphone(portaudio, device, audio.channel, audio.gain, patient or not named, heard)


def control_server(wanted: Control) -> ControlServer:
    """The control socket; where it cannot be, chimed listens all the same."""
    try:
        return ControlServer(wanted_path(wanted))
    except ChimedError as error:
        log.warning("no control socket: %s", error)
        return ControlServer(None)


def wanted_path(wanted: Control) -> Path | None:
    """Where the control socket shall be; None for none."""
    return (wanted.socket or socket_path()) if wanted.enabled else None


def mute_file(control: Path | None) -> Path | None:
    """Where it is noted that chimed is muted: beside this control socket."""
    return control.with_name("muted") if control is not None else None
