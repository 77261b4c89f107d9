"""From the end of a word to the start of the hook, through a real PulseAudio: `python tests/bench_latency.py`."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import DATA, Chimed, user_environment
from soundserver import SoundServer, private

from model.frontend import SAMPLE_RATE

RECORDING = DATA / "activate-demo.flac"
TIMES = 5


def latencies(times: int = TIMES) -> list[float]:
    """Play the recording so often into a virtual microphone -> s from each word's end to its hook."""
    samples, rate = soundfile.read(RECORDING, dtype="int16", always_2d=True)
    assert rate == SAMPLE_RATE
    ends = json.loads(RECORDING.with_suffix(".json").read_text())["word_ends_at_seconds"]
    folder = Path(tempfile.mkdtemp(prefix="chimed"))
    environment = user_environment(folder)
    fired = folder / "fired"
    config = folder / "config.yaml"
    config.write_text(f"chime: false\nhooks:\n  - date +%s.%N >>{fired}\n")
    found = []
    for server in private(SoundServer):
        server.start()
        chimed = Chimed(["run", "--config", config], environment | server.variables, stdin=-3)
        try:
            chimed.wait_for("listening to")
            time.sleep(3)
            for _ in range(times):
                server.say(samples[:, 0])
                time.sleep(len(samples) / SAMPLE_RATE + 2)
                begin = server.said[-1]
                hooks = [float(line) for line in fired.read_text().split()] if fired.exists() else []
                found += [
                    next(at - begin - end for at in hooks if -0.5 < at - begin - end < 2)
                    for end in ends
                    if any(-0.5 < at - begin - end < 2 for at in hooks)
                ]
        finally:
            chimed.process.kill()
            chimed.process.wait()
    shutil.rmtree(folder, ignore_errors=True)
    return found


def main() -> None:
    """Print the median and the spread."""
    times = int(sys.argv[1]) if len(sys.argv) > 1 else TIMES
    try:
        found = latencies(times)
    except pytest.skip.Exception as missing:
        print(f"latency through PulseAudio left out: {missing}")
        return
    low, median, high = np.percentile(found, [10, 50, 90]) * 1000
    print(f"from the word's end to the hook's start, {len(found)} of {3 * times} words heard through PulseAudio:")
    print(f"  median {median:.0f} ms, 10 % below {low:.0f} ms, 10 % above {high:.0f} ms")


if __name__ == "__main__":
    main()
