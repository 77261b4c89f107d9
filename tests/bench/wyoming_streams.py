"""What Wyoming streams cost: `python -m tests.bench.wyoming_streams [STREAMS [SECONDS [SERVERS]]]`.

Real servers, each with so many satellites that send a recording at 16 kHz in real time, all at once. The CPU time of
the servers' processes alone counts, as the kernel accounts for it, without the clients: what else the machine does
changes it little. What two cores carry is two seconds of CPU divided by it. Whether they kept up on this machine at
this time is seen in how long an answer to `describe` takes, which waits for all audio that was sent before it, and in
how much sound the servers say they skipped; then there is no figure.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tempfile
import time
from itertools import chain
from pathlib import Path

import soundfile
from wyoming.audio import AudioStart
from wyoming.client import AsyncClient
from wyoming.info import Describe
from wyoming.wake import Detect

from tests.support.paths import DATA
from tests.support.wyoming_clients import CHUNK, chunks, cpu, memory, pcm

RECORDING = DATA / "activate-demo.flac"


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


async def measure(servers: dict[str, int], streams: int, seconds: float) -> None:
    """Print what the servers (address -> process) used while all satellites streamed."""
    sound = pcm(soundfile.read(RECORDING, dtype="int16", always_2d=True)[0][:, 0])
    for uri in servers:
        await satellite(uri, sound, 1.0, 0.0)
    pids = list(servers.values())
    resting, before = sum(map(memory, pids)), sum(map(cpu, pids))
    tasks = [
        asyncio.create_task(satellite(uri, sound, seconds, i / streams * CHUNK))
        for uri in servers
        for i in range(streams)
    ]
    await asyncio.sleep(seconds * 0.9)
    busy = sum(map(memory, pids))
    waits = sorted(chain.from_iterable(await asyncio.gather(*tasks)))
    spent = (sum(map(cpu, pids)) - before) / (len(tasks) * seconds) * 1000
    each = (busy - resting) / max(1, len(tasks) - len(pids)) * 1000
    print(f"{len(pids)} servers, {streams} streams each, for {seconds:g} s")
    print(f"  CPU       {spent:6.1f} ms per second of audio and stream: two cores carry {2000 / spent:.0f}")
    print(f"  memory    {resting / len(pids):6.1f} MB with one stream, {each:.0f} kB for each other")
    if waits:
        median = waits[len(waits) // 2]
        print(f"  describe  {median * 1000:6.1f} ms (median), {waits[-1] * 1000:.0f} ms (worst of {len(waits)})")


def main() -> None:
    """Measure with as many streams, for as many seconds, on as many servers, as the command line says."""
    numbers = [float(text) for text in sys.argv[1:]]
    streams, seconds, servers = (*numbers, *(40, 20, 1)[len(numbers) :])
    command = [sys.executable, "-m", "daemon.cli", "wyoming", "--uri", "tcp://127.0.0.1:0", "--max-streams", "10000"]
    with tempfile.TemporaryDirectory() as folder:
        logs = [Path(folder, f"{number}.log") for number in range(int(servers))]
        started = [subprocess.Popen(command, stderr=log.open("w")) for log in logs]
        try:
            addresses = {address(log): each.pid for log, each in zip(logs, started, strict=True)}
            asyncio.run(measure(addresses, int(streams), seconds))
        finally:
            for each in started:
                each.terminate()
                each.wait()
        if any("cannot keep up" in log.read_text() for log in logs):
            sys.exit("The servers could not keep up and skipped sound, so these are no figures: use fewer streams.")


def address(log: Path) -> str:
    """Where a server serves, once it says so."""
    while not (found := re.search(r"serving at (\S+),", log.read_text())):
        time.sleep(0.1)
    return found[1]


if __name__ == "__main__":
    main()
