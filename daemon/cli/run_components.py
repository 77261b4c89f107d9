"""Makes the parts of a `chimed run`, and has them follow the settings after each reload."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from pathlib import Path

from daemon.audio.microphone import Microphone
from daemon.audio.portaudio import PortAudio
from daemon.audio.sources import Source
from daemon.audio.switchable_source import OpenSource, SwitchableSource
from daemon.config.settings import AudioSettings, ControlSettings, Settings
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
        source: Source,
        hooks: HookRunner,
        wyoming: EmbeddedService,
        control: ControlServer | None,
        microphone: Callable[[AudioSettings], OpenSource],
    ) -> None:
        self._loop = loop
        self._source = source
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
        if new.audio != old.audio and isinstance(self._source, SwitchableSource):
            self._source.exchange(self._microphone(new.audio))
        self.keep_clips(new, plan)

    def _move(self, path: Path | None) -> None:
        assert self._control is not None
        self._control.move(path)
        self._loop.mute.move(mute_file(path))
        log.info("control socket: %s", path or "none")

    def keep_clips(self, settings: Settings, plan: ListeningPlan) -> None:
        """Keep clips as these settings want it, of these words."""
        if self._loop.clip_recorder is not None:
            self._loop.clip_recorder.stop()
            self._loop.clip_recorder = None
        if settings.clips.folder is not None:
            from daemon.responses.clip_recorder import ClipRecorder  # most keep none

            self._loop.clip_recorder = ClipRecorder(settings.clips, plan.models)


def open_microphone(args: argparse.Namespace, portaudio: PortAudio, audio: AudioSettings) -> OpenSource:
    """What opens the microphone that the command line names, else this configuration."""
    named = args.device is not None  # by someone who is here to read that there is no such device
    device = args.device if named else audio.device
    return lambda patient, heard: Microphone(portaudio, device, audio.channel, audio.gain, patient or not named, heard)


def control_server(wanted: ControlSettings) -> ControlServer:
    """The control socket; where it cannot be, chimed listens all the same."""
    try:
        return ControlServer(wanted_path(wanted))
    except ChimedError as error:
        log.warning("no control socket: %s", error)
        return ControlServer(None)


def wanted_path(wanted: ControlSettings) -> Path | None:
    """Where the control socket shall be; None for none."""
    return (wanted.socket or socket_path()) if wanted.enabled else None


def mute_file(control: Path | None) -> Path | None:
    """Where it is noted that chimed is muted: beside this control socket."""
    return control.with_name("muted") if control is not None else None
