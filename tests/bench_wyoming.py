"""What a Wyoming stream costs: `make bench-wyoming`, or `python tests/bench_wyoming.py [STREAMS [SECONDS]]`.

A real server and so many satellites that each send a recording at 16 kHz in real time, all at once. The CPU time of
the server's process alone counts, as the kernel accounts for it, so that the clients and whatever else the machine
does leave it alone; how many streams a core carries is derived from it.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path

import soundfile
from wyoming.audio import AudioStart
from wyoming.client import AsyncClient
from wyoming.info import Describe
from wyoming.wake import Detect
from wyoming_clients import CHUNK, chunks, cpu, memory, pcm

RECORDING = Path(__file__).parent / "data" / "activate-demo.flac"


async def satellite(uri: str, sound: bytes, seconds: float, phase: float) -> list[float]:
    """Sends the recording again and again in real time; how late an answer to `describe` came, s."""
    events = list(chunks(sound))
    waits = []
    async with AsyncClient.from_uri(uri) as client:
        await client.write_event(Detect().event())
        await client.write_event(AudioStart(16_000, 2, 1).event())
        await asyncio.sleep(phase)
        begin = time.monotonic()
        for i in range(round(seconds / CHUNK)):
            await asyncio.sleep(max(0.0, begin + i * CHUNK - time.monotonic()))
            await client.write_event(events[i % len(events)])
            if i % 50 == 49:
                asked = time.monotonic()
                await client.write_event(Describe().event())
                while (event := await client.read_event()) is not None and event.type != "info":
                    pass
                waits.append(time.monotonic() - asked)
    return waits


async def measure(server: subprocess.Popen[str], uri: str, streams: int, seconds: float) -> None:
    """Print what the server used while all streamed."""
    samples = soundfile.read(RECORDING, dtype="int16", always_2d=True)[0][:, 0]
    sound = pcm(samples)
    await satellite(uri, sound, 1.0, 0.0)
    resting, before = memory(server.pid), cpu(server.pid)
    tasks = [asyncio.create_task(satellite(uri, sound, seconds, i / streams * CHUNK)) for i in range(streams)]
    await asyncio.sleep(seconds * 0.9)
    busy = memory(server.pid)
    waits = sorted(chain.from_iterable(await asyncio.gather(*tasks)))
    spent = (cpu(server.pid) - before) / (streams * seconds) * 1000
    each = (busy - resting) / max(1, streams - 1) * 1000
    print(f"{streams} streams for {seconds:g} s")
    print(f"  CPU       {spent:6.1f} ms per second of audio and stream: a core carries {1000 / spent:.0f}")
    print(f"  memory    {resting:6.1f} MB with one stream, {each:.0f} kB for each other")
    if waits:
        median = waits[len(waits) // 2]
        print(f"  describe  {median * 1000:6.1f} ms (median), {waits[-1] * 1000:.0f} ms (worst of {len(waits)})")


def main() -> None:
    """Measure with as many streams, for as many seconds, as the command line says."""
    streams = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 20.0
    command = [sys.executable, "-m", "daemon.cli", "wyoming", "--uri", "tcp://127.0.0.1:0", "--max-streams", "10000"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr
        found = re.search(r"serving at (\S+),", server.stderr.readline())
        assert found
        server.stderr.close()
        try:
            asyncio.run(measure(server, found[1], streams, seconds))
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
