"""Makes the pictures of the monitor in the documentation, docs/monitor-light.png and docs/monitor-dark.png.

A real `chimed run` hears the demonstration's recording, and a real Chromium shows the page. Needs what the tests need:

    python -m tests.make.monitor
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from tests.support.browser import Browser, browser
from tests.support.paths import ROOT

RECORDING = "activate-demo.flac"
SIZE = (1080, 760)


def main() -> None:
    """Write both."""
    command = [sys.executable, "-m", "daemon.cli"]
    with tempfile.TemporaryDirectory(prefix="chimed") as temporary:
        folder = Path(temporary)
        environment = {
            **os.environ,
            "HOME": temporary,
            "XDG_RUNTIME_DIR": temporary,
            "XDG_CONFIG_HOME": temporary,
            "PYTHONPATH": str(ROOT),
        }
        samples, rate = soundfile.read(ROOT / "tests/data" / RECORDING, dtype="int16")
        soundfile.write(folder / RECORDING, np.tile(samples, 3), rate)
        options = ["run", "--input", RECORDING, "--no-chime"]
        with subprocess.Popen([*command, *options], env=environment, cwd=folder) as daemon:
            while not (folder / "chimed/control.sock").exists():
                time.sleep(0.1)
            with (
                subprocess.Popen([*command, "monitor"], env=environment, stdout=subprocess.PIPE, text=True) as monitor,
                browser(folder) as tab,
            ):
                assert monitor.stdout is not None
                tab.look(*SIZE)
                tab.call("Emulation.setScrollbarsHidden", hidden=True)
                tab.open(monitor.stdout.readline().strip())
                tab.wait("document.querySelectorAll('.play:not(:disabled)').length >= 2")
                photograph(tab, "light")
                tab.look(*SIZE, dark=True)
                tab.wait("document.querySelectorAll('.play:not(:disabled)').length >= 3")
                photograph(tab, "dark")
                monitor.terminate()
            daemon.terminate()


def photograph(tab: Browser, name: str) -> None:
    """The page as it stands, in few colours: a small file."""
    time.sleep(0.4)  # fonts and layers
    picture = ROOT / "docs" / f"monitor-{name}.png"
    tab.photograph(picture)
    image = Image.open(io.BytesIO(picture.read_bytes())).convert("RGB")
    image.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(picture, optimize=True)
    print(f"{picture}: {picture.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
