"""Sound into the daemon: microphones and sound servers as they really fail, files, raw PCM, resampling, muting.

A source gives blocks of int16 mono at 44.1 kHz, whatever it is.
"""

__all__ = [
    "microphone",
    "mute",
    "pcm",
    "portaudio",
    "portaudio_library",
    "resample",
    "sources",
    "switchable_source",
]  # what other rooms may import
