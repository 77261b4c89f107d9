"""Converts raw PCM of any rate, width and channel count, cut anywhere, to int16 mono samples at 44.1 kHz."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from daemon.audio.resample import Floats, Resampler, Samples, check_rate
from daemon.system.errors import AudioError
from model.frontend import SAMPLE_RATE

MAX_CHANNELS = 256  # no microphone array is larger; what asks for more is a damaged header


@dataclass(frozen=True)
class PcmFormat:
    """How the bytes are to be read. Raises AudioError for what no sound card delivers.

    rate: Hz; width: bytes a sample, 1 to 4, little-endian and signed, but unsigned where it is 1 (as in WAV);
    channels: interleaved, of which the first counts.
    """

    rate: int
    width: int
    channels: int

    def __post_init__(self) -> None:
        if not 1 <= self.width <= 4:
            raise AudioError(f"a sample has 1 to 4 bytes, not {self.width}")
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise AudioError(f"a stream has 1 to {MAX_CHANNELS} channels, not {self.channels}")
        check_rate(self.rate)

    @property
    def frame(self) -> int:
        """Bytes of one sample of all channels."""
        return self.width * self.channels

    def seconds(self, size: int) -> float:
        """How long so many bytes sound."""
        return size / (self.rate * self.frame)


class PcmStream:
    """Push bytes, cut anywhere, get samples; any cuts give the same samples."""

    def __init__(self, pcm: PcmFormat) -> None:
        self._format = pcm
        self._resampler = Resampler(pcm.rate)
        self._rest = b""
        self._torn = False
        self._frames = self._samples = 0  # that came, and what they gave

    def push(self, data: bytes) -> Samples:
        """The samples that these bytes complete; what the resampler's filter holds back comes later."""
        self._mend()
        samples = self._resampler.push(_floats(self._whole(data), self._format))
        self._samples += len(samples)
        return samples

    def skip(self, data: bytes) -> int:
        """Leave these bytes out; what comes next begins anew. How many samples they, and what the filter held, are."""
        self._whole(data)
        self._torn = True
        missing = round(self._frames / self._format.rate * SAMPLE_RATE) - self._samples
        self._samples += missing
        return missing

    def _whole(self, data: bytes) -> bytes:
        """The frames that these bytes complete; what begins the next one waits."""
        data = self._rest + data
        frames = len(data) // self._format.frame
        self._frames += frames
        self._rest = data[frames * self._format.frame :]
        return data[: frames * self._format.frame]

    def flush(self) -> Samples:
        """End of the stream: what the filter still holds; half a sample at the very end is dropped."""
        self._mend()
        return self._resampler.flush()

    def _mend(self) -> None:
        if self._torn:  # not with each skip: it takes a quarter of the time of hearing
            self._resampler.reset()
            self._torn = False


def _floats(data: bytes, pcm: PcmFormat) -> Floats:
    """The first channel of whole frames, full scale 1.0; exact up to 24 bits."""
    frames = np.frombuffer(data, np.uint8).reshape(-1, pcm.frame)[:, : pcm.width]
    # the bytes become the upper ones of an int32, so that every width has the same full scale
    wide = np.zeros((len(frames), 4), np.uint8)
    wide[:, 4 - pcm.width :] = frames
    if pcm.width == 1:
        wide[:, 3] ^= 0x80  # unsigned to signed
    return wide.view("<i4")[:, 0].astype(np.float32) * np.float32(2.0**-31)
