"""`chimed devices`: lists the microphones that ``--device`` and the configuration can name."""

from __future__ import annotations

import argparse

from daemon.audio.portaudio_library import NO_DEVICE, PortAudioLibrary
from daemon.system.errors import AudioError
from daemon.system.terminal import say, silence_libraries


def command(_args: argparse.Namespace) -> int:
    """List the microphones, the default one marked. Raises AudioError where there is none."""
    silence_libraries()
    devices = PortAudioLibrary().devices()
    if not devices:
        raise AudioError(NO_DEVICE.format(noun="microphone"))
    width = max(len(device.name) for device in devices)
    for device in devices:
        mark = "*" if device.default else " "
        say(f"{mark} {device.number:3}  {device.name:{width}}  {device.channels:3} ch  {device.rate} Hz")
    say("* the default, which `chimed run` listens to; another: chimed run --device NUMBER or NAME")
    return 0
