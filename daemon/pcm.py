"""Raw PCM of any rate, width and channel count in, as a stream of bytes; int16 mono samples at 44.1 kHz out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from daemon.errors import AudioError
from daemon.resample import Floats, Resampler, Samples, check_rate

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


class PcmStream:
    """Push bytes, cut anywhere, get samples; any cuts give the same samples."""

    def __init__(self, pcm: PcmFormat) -> None:
        self._format = pcm
        self._resampler = Resampler(pcm.rate)
        self._rest = b""

    def push(self, data: bytes) -> Samples:
        """The samples that these bytes complete; what the resampler's filter holds back comes later."""
        data = self._rest + data
        whole = len(data) // self._format.frame * self._format.frame
        self._rest = data[whole:]
        return self._resampler.push(_floats(data[:whole], self._format))

    def flush(self) -> Samples:
        """End of the stream: what the filter still holds; half a sample at the very end is dropped."""
        return self._resampler.flush()


def _floats(data: bytes, pcm: PcmFormat) -> Floats:
    """The first channel of whole frames, full scale 1.0; exact up to 24 bits."""
    frames = np.frombuffer(data, np.uint8).reshape(-1, pcm.frame)[:, : pcm.width]
    # the bytes become the upper ones of an int32, so that every width has the same full scale
    wide = np.zeros((len(frames), 4), np.uint8)
    wide[:, 4 - pcm.width :] = frames
    if pcm.width == 1:
        wide[:, 3] ^= 0x80  # unsigned to signed
    return wide.view("<i4")[:, 0].astype(np.float32) * np.float32(2.0**-31)
