"""The documentation's commands do what they say: they are pasted into a shell, page by page and in the pages' order.

A recording stands in for the microphone, and a home of its own for the reader's. What is not run is in NOT_RUN with
the reason; `test_docs.py` holds it against the parsers. Commands of other programs (apt, pactl, systemctl) are not run.
"""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import soundfile

from tests.docs.test_docs import PAGES, blocks, calls
from tests.support.chimed import Chimed
from tests.support.paths import ROOT
from tests.support.soundserver import SoundServer, private

pytestmark = pytest.mark.integration

DEMO = ROOT / "tests" / "data" / "activate-demo.flac"

NOT_RUN = {
    "chimed service": "changes the systemd of whoever runs the tests; test_install.py runs it under one of its own",
    "chimed-train word": "takes minutes; test_word.py runs it on a small scale",
    "chimed-train speak": "speaks for minutes; test_train_cli.py has it speak less",
    "chimed-train download": "downloads 0.7 GB; test_download.py downloads three packages",
    "chimed-train build": "builds for minutes; test_build.py has it build less",
    "chimed-train fit": "takes hours; test_fit.py runs it on a small scale",
    "chimed-train export": "needs a training; test_fit.py exports one",
    "chimed-train evaluate": "needs recordings of the word; test_train_cli.py makes some",
    "chimed-train stress": "needs recordings of the word; test_stress.py makes some",
    "chimed-train import": "needs the assignment's files; test_train_cli.py runs it where they are",
    "chimed-train record": "asks a person; test_record.py is one",
    "chimed-train adapt": "trains for minutes; test_adapt.py runs it on a small scale",
    "chimed-train review": "asks a person; test_review.py is one",
}
ENDLESS = {"chimed monitor", "chimed watch", "chimed wyoming"}  # interrupted once they say something
REMOTE = {"chimed status", "chimed watch", "chimed monitor", "chimed mute", "chimed unmute", "chimed trigger"}
INSTEAD = {
    "tcp://0.0.0.0:10400": "tcp://0.0.0.0:0",  # the port may be taken
    "sudo /opt/chimed/bin/": "",  # not installed there; as the reader
}


def lines(page: Path) -> Iterator[tuple[str, str]]:
    """Each line of a page's shell scripts that calls one of our programs, and the call: program and command."""
    for script in blocks(page.read_text(), "sh"):
        for line in script.replace("\\\n", " ").splitlines():
            for program, *arguments in calls(line):
                yield line, f"{program} {arguments[0]}"


def test_what_is_not_run_is_still_in_the_documentation():
    """So that the list does not outlive its reasons, and is not the whole of it."""
    named = [call for page in PAGES for _, call in lines(page)]
    assert set(NOT_RUN) <= set(named)
    assert len([call for call in named if call not in NOT_RUN]) > len(named) / 2


class Reader:
    """Someone who pastes commands, in a folder that has what the commands name."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder / "clone"
        (folder / "bin").mkdir()
        script = folder / "bin" / "chimed"
        script.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m daemon.cli "$@"\n')
        script.chmod(0o755)
        self._environment = environment | {"PATH": f"{folder}/bin:{os.environ['PATH']}"}
        (self._folder / "tests" / "data").mkdir(parents=True)
        shutil.copy(DEMO, self._folder / "tests" / "data")
        samples, rate = soundfile.read(DEMO)
        for name in ("clip.wav", "recording.wav", "test.wav"):
            soundfile.write(self._folder / name, samples, rate)
        for name in ("meeting.flac", "stream.m4a"):
            shutil.copy(DEMO, self._folder / name)
        shutil.copy(ROOT / "model/words/activate.npz", self._folder / "mine.npz")
        home = Path(environment["HOME"])
        for name in (
            ".config/chimed",
            ".config/fish/completions",
            ".local/share/bash-completion/completions",
            ".zfunc",
        ):
            (home / name).mkdir(parents=True, exist_ok=True)
        (home / ".config/chimed/config.yaml").write_text("chime: false\nhooks: ['true']\n")

    def paste(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a line to its end."""
        command = ["bash", "-o", "pipefail", "-c", line]
        return subprocess.run(
            command, cwd=self._folder, env=self._environment, capture_output=True, text=True, timeout=120, check=False
        )

    def interrupt(self, line: str) -> subprocess.CompletedProcess[str]:
        """Run a line in a terminal until it says something, then press Ctrl-C."""
        own, theirs = pty.openpty()
        process = subprocess.Popen(
            ["bash", "-c", f"exec {line}"], cwd=self._folder, env=self._environment, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        said = os.read(own, 65_536)
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # the end of a terminal
            while piece := os.read(own, 65_536):
                said += piece
        os.close(own)
        return subprocess.CompletedProcess(line, process.wait(60), said.decode(), "")


@pytest.fixture
def live(environment: dict[str, str], start: Callable[..., Chimed]) -> Iterator[dict[str, str]]:
    """The environment of a reader whose chimed listens to a microphone, which hears the demonstration."""
    for server in private(SoundServer):
        server.start()
        start("run", "--no-chime", **server.variables).wait_for("listening to microphone")
        server.say(soundfile.read(DEMO, dtype="int16")[0])
        yield environment | server.variables


def needs_microphone(page: Path) -> bool:
    """Whether commands of the page speak to a running chimed."""
    return any(call in REMOTE for _, call in lines(page))


READ = [page for page in PAGES if any(call not in NOT_RUN for _, call in lines(page))]


@pytest.mark.parametrize("page", READ, ids=lambda path: path.name)
def test_the_commands_of_a_page_work(page, tmp_path, environment, request):
    reader = Reader(tmp_path, request.getfixturevalue("live") if needs_microphone(page) else environment)
    for line, call in lines(page):
        if call in NOT_RUN or ("ffmpeg" in line and not shutil.which("ffmpeg")):
            continue
        for theirs, ours in INSTEAD.items():
            line = line.replace(theirs, ours)
        done = reader.interrupt(line) if call in ENDLESS else reader.paste(line)
        assert "Traceback" not in done.stdout + done.stderr, line
        expected = {0, 130} if call in ENDLESS else {0, 1} if call == "chimed devices" else {0}  # 1: no microphone
        assert done.returncode in expected, f"{line}\n{done.stdout}{done.stderr}"
