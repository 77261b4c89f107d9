"""What the tests of the Wyoming service share: the package's own client, spoken to as Home Assistant does."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import soxr
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncClient
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.wake import Detect, Detection

from model.frontend import SAMPLE_RATE, Samples
from tests.support.chimed import Chimed

PATIENCE = 30.0  # s; a busy machine must not fail a test
CHUNK = 0.064  # s, what satellites send


def pcm(samples: Samples, rate: int = 16_000, width: int = 2, channels: int = 1) -> bytes:
    """Int16 samples at 44.1 kHz as another machine would have recorded them; further channels are silent."""
    floats = samples.astype(np.float64) / 32_768
    floats = soxr.resample(floats, SAMPLE_RATE, rate) if rate != SAMPLE_RATE else floats
    wide = (floats.clip(-1, 1 - 2**-31) * 2**31).astype("<i4")
    frames = np.zeros((len(wide), channels, 4), np.uint8)
    frames[:, 0] = wide.view(np.uint8).reshape(-1, 4)
    data = frames[:, :, 4 - width :].copy()
    if width == 1:
        data ^= 0x80
    return data.tobytes()


def chunks(data: bytes, rate: int = 16_000, width: int = 2, channels: int = 1) -> Iterable[Event]:
    """The sound in events of 64 ms."""
    size = round(CHUNK * rate) * width * channels
    for start in range(0, len(data), size):
        yield AudioChunk(rate, width, channels, data[start : start + size]).event()


class Client:
    """A client of the package, with the few things that tests say again and again."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self.read: list[Event] = []

    async def send(self, *events: Event) -> None:
        for event in events:
            await self._client.write_event(event)

    async def receive(self) -> Event | None:
        """The next event; None once the server has closed."""
        event = await asyncio.wait_for(self._client.read_event(), PATIENCE)
        if event is not None:
            self.read.append(event)
        return event

    async def until(self, kind: str) -> Event:
        """The next event of this type; those before it are in `read`."""
        while (event := await self.receive()) is not None:
            if event.type == kind:
                return event
        raise AssertionError(f"closed before {kind!r} came; read {[event.type for event in self.read]}")

    async def info(self) -> Info:
        await self.send(Describe().event())
        return Info.from_event(await self.until("info"))

    async def begin(self, names: list[str] | None = None, rate: int = 16_000) -> None:
        """As Home Assistant and the satellites do."""
        await self.send(Detect(names=names).event(), AudioStart(rate, 2, 1).event())

    async def hear(
        self, samples: Samples, rate: int = 16_000, width: int = 2, channels: int = 1, names: list[str] | None = None
    ) -> list[Detection]:
        """A whole stream, ended by audio-stop; the detections in it."""
        await self.send(Detect(names=names).event(), AudioStart(rate, width, channels).event())
        await self.send(*chunks(pcm(samples, rate, width, channels), rate, width, channels))
        return await self.stop()

    async def stop(self) -> list[Detection]:
        """End the stream; all detections that were not read before. An answer to `describe` marks the end."""
        before = len(self.read)
        await self.send(AudioStop().event())
        await self.info()
        return [Detection.from_event(event) for event in self.read[before:] if event.type == "detection"]


@asynccontextmanager
async def connected(uri: str) -> AsyncIterator[Client]:
    async with AsyncClient.from_uri(uri, connect_timeout=PATIENCE) as client:
        yield Client(client)


def plain(uri: str) -> socket.socket:
    """A TCP connection without any manners."""
    host, port = uri.removeprefix("tcp://").split(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE)


def uri_of(server: Chimed) -> str:
    """Where it serves, as it says itself."""
    found = re.search(r"serving at (\S+),", server.wait_for("serving at"))
    assert found
    return found[1]


def serve(start: Callable[..., Chimed], *arguments: str | Path) -> str:
    """Start a server at a free port; its address."""
    return uri_of(start("wyoming", "--uri", "tcp://127.0.0.1:0", *arguments))


def memory(pid: int) -> float:
    """What a process holds now, MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6


def cpu(pid: int) -> float:
    """What a process has used of the CPU, s."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100
