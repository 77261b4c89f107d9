"""The units as they ship, under a real systemd with a journal, and `systemd-analyze`'s opinion of them."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import soundfile

from model import modelfile
from model.frontend import SAMPLE_RATE
from tests.support.chimed import recording, tone_model
from tests.support.paths import ROOT, let_others_enter
from tests.support.soundserver import SoundServer, private
from tests.support.systemd_manager import Manager
from tests.support.systemd_manager import manager as manager  # noqa: PLC0414 - a fixture

pytestmark = pytest.mark.integration

USER, SYSTEM = "chimed", "chimed-system"
CHIMED = f"{sys.executable} -m daemon.cli run --no-chime"


@pytest.fixture
def server() -> Iterator[SoundServer]:
    """A sound server with a microphone that hears."""
    for server in private(SoundServer):
        server.start()
        yield server


class Unit:
    """A unit as it ships, but for the lines of a drop-in: where chimed lies, and shorter times."""

    def __init__(self, manager: Manager, name: str, folder: Path) -> None:
        self._manager = manager
        self.name = name
        self.folder = folder
        modelfile.save(folder / "beep.npz", tone_model())
        shutil.copy(ROOT / "systemd" / f"{name}.service", manager.units)
        self.drop_in = manager.units / f"{name}.service.d"
        self.configure("")

    def configure(self, text: str) -> None:
        """Write the configuration file."""
        (self.folder / "config.yaml").write_text(f"words: [{{model: {self.folder}/beep.npz}}]\n{text}")

    def change(self, arguments: str, *lines: str) -> None:
        """The arguments of `chimed run`, and more lines for the drop-in."""
        self.drop_in.mkdir(exist_ok=True)
        start = f"ExecStart=\nExecStart={CHIMED} --config {self.folder}/config.yaml {arguments}"
        text = "\n".join(["[Service]", start, f"Environment=PYTHONPATH={ROOT}", "RestartSec=100ms", *lines, ""])
        (self.drop_in / "test.conf").write_text(text)
        self._manager.control("daemon-reload", check=True)

    def do(self, verb: str, *options: str) -> int:
        """Run systemctl on it; its exit code."""
        return self._manager.control(verb, *options, self.name).returncode

    def show(self, name: str) -> str:
        """One of its properties."""
        return self._manager.show(self.name, name)

    @property
    def state(self) -> str:
        """Such as ``active (running)``."""
        return f"{self.show('ActiveState')} ({self.show('SubState')})"

    def journal(self, text: str) -> list[tuple[int, str]]:
        """Priority and text of the lines that contain this."""
        return [line for line in self._manager.journal(self.name) if text in line[1]]

    def wait_for(self, text: str, count: int = 1) -> None:
        """Until the journal has so many lines with this text."""
        self._manager.wait_for(lambda: len(self.journal(text)) >= count)


@pytest.fixture
def unit(manager: Manager, tmp_path: Path):
    """The user unit, which hears a recording: beeps, and soft noise for ten minutes."""
    unit = make_unit(manager, USER, tmp_path)
    sound = recording(20, [5.0, 10.0, 15.0])
    with soundfile.SoundFile(tmp_path / "long.wav", "w", SAMPLE_RATE, 1) as file:
        file.write(sound)
        noise = recording(10, [])
        for _ in range(60):
            file.write(noise)
    unit.change(f"--input {tmp_path}/long.wav")
    yield unit
    forget(manager, unit)


def make_unit(manager: Manager, name: str, folder: Path) -> Unit:
    # a test that follows must not find the journal of the one before it
    manager.run("journalctl", "--rotate", check=True)
    manager.run("journalctl", "--vacuum-time=1us", check=True)
    return Unit(manager, name, folder)


def forget(manager: Manager, unit: Unit) -> None:
    """Stop it and remove what the test made."""
    unit.do("kill", "-s", "KILL")
    unit.do("stop")
    unit.do("reset-failed")
    shutil.rmtree(unit.drop_in, ignore_errors=True)
    (manager.units / f"{unit.name}.service").unlink()


def test_it_starts_and_is_ready_once_it_listens(unit):
    assert unit.do("start") == 0  # returns when it is ready
    assert unit.state == "active (running)"
    assert unit.show("StatusText") == f"listening to {unit.folder}/long.wav"
    assert unit.show("NRestarts") == "0"
    unit.wait_for('heard "beep"')


def test_it_is_not_ready_before_sound_comes(manager, server, tmp_path):
    """The microphone is there and delivers nothing; then it does."""
    server.silence()
    unit = make_unit(manager, USER, tmp_path)
    try:
        unit.change("", *(f"Environment={name}={value}" for name, value in server.variables.items()))
        unit.do("start", "--no-block")
        unit.wait_for("no sound came")
        assert unit.state == "activating (start)"
        assert unit.show("StatusText").startswith("waiting for ")
        server.speak()
        manager.wait_for(lambda: unit.state == "active (running)")
        assert unit.show("StatusText").startswith("listening to ")
        assert unit.show("NRestarts") == "0"
        server.say(recording(1, [0.3]))
        unit.wait_for('heard "beep"')
    finally:
        forget(manager, unit)


def test_a_reload_applies_a_changed_file_and_refuses_a_broken_one(unit, manager):
    unit.do("start")
    pid = unit.show("MainPID")
    unit.configure("hooks: ['echo the new hook']\nlog_level: debug")
    assert unit.do("reload") == 0
    unit.wait_for("configuration read again")
    unit.configure("hook: [false]")
    assert unit.do("reload") == 0
    unit.wait_for("the settings in force stay")
    manager.wait_for(lambda: unit.state == "active (running)")
    assert unit.journal("unknown key; did you mean 'hooks'?")[0][0] == 3
    assert "; the changed configuration was refused: " in unit.show("StatusText")
    unit.wait_for("the new hook")  # heard after both, and the first one holds
    assert unit.show("MainPID") == pid
    unit.configure("")
    unit.do("reload")
    unit.wait_for("configuration read again", 2)
    manager.wait_for(lambda: unit.show("StatusText") == f"listening to {unit.folder}/long.wav")


def test_a_process_that_hangs_is_restarted(unit, manager):
    unit.change(f"--input {unit.folder}/long.wav", "WatchdogSec=2", "TimeoutAbortSec=1")
    unit.do("start")
    pid = unit.show("MainPID")
    manager.run("kill", "-STOP", pid, check=True)
    manager.wait_for(lambda: unit.show("NRestarts") == "1" and unit.state == "active (running)")
    assert unit.show("MainPID") != pid
    said = manager.run("journalctl", "--no-pager", check=True).stdout
    assert "Watchdog timeout" in said


def test_a_sound_library_that_hangs_ends_in_a_restart(manager, server, tmp_path):
    """The process is alive, and deaf for as long as it lives."""
    unit = make_unit(manager, USER, tmp_path)
    try:
        variables = (f"Environment={name}={value}" for name, value in server.variables.items())
        unit.change("", "WatchdogSec=2", *variables)
        unit.do("start")
        pid = unit.show("MainPID")
        server.signal(signal.SIGSTOP)
        manager.wait_for(lambda: unit.show("NRestarts") != "0" and unit.show("MainPID") not in (pid, "0"))
        said = manager.run("journalctl", "-o", "cat").stdout
        assert "Fatal Python error: Aborted" in said
        assert 'loop.py", line ' in said  # where it was
        server.signal(signal.SIGCONT)
        manager.wait_for(lambda: unit.state == "active (running)")
        server.say(recording(1, [0.3]))
        unit.wait_for('heard "beep"')
    finally:
        server.signal(signal.SIGCONT)
        forget(manager, unit)


def test_it_stays_alive_beyond_the_watchdogs_time(unit):
    unit.change(f"--input {unit.folder}/long.wav", "WatchdogSec=1")
    unit.do("start")
    unit.wait_for('heard "beep"', 1)  # after 5 s
    assert (unit.state, unit.show("NRestarts")) == ("active (running)", "0")


def test_a_crash_is_followed_by_a_restart(unit, manager):
    unit.do("start")
    for count in (1, 2):
        pid = unit.show("MainPID")
        manager.run("kill", "-SEGV", pid, check=True)
        manager.wait_for(lambda count=count: unit.show("NRestarts") == str(count) and "active (r" in unit.state)
        assert unit.show("MainPID") != pid


@pytest.mark.parametrize(
    ("config", "reason"),
    [("hook: [false]", "unknown key; did you mean 'hooks'?"), ("chime: none.wav", "there is no file")],
)
def test_a_wrong_configuration_is_not_tried_again(unit, config, reason):
    unit.configure(config)
    assert unit.do("start") != 0
    assert unit.state == "failed (failed)"
    assert (unit.show("Result"), unit.show("ExecMainStatus"), unit.show("NRestarts")) == ("exit-code", "78", "0")
    assert [priority for priority, _ in unit.journal(reason)] == [3]


def test_the_journal_has_priorities(unit):
    unit.configure("hooks: ['echo said; exit 3']\nlog_level: debug")
    unit.do("start")
    unit.wait_for("exit code 3")
    assert {priority for priority, _ in unit.journal("listening to")} == {6}
    assert unit.journal("heard ")[0][0] == 6
    assert unit.journal(": said")[0][0] == 6
    assert unit.journal("exit code 3")[0][0] == 4


def test_it_stops_within_two_seconds_while_a_hook_runs(unit, manager):
    """Otherwise systemd would have killed it, and said so."""
    unit.configure(f"hooks: [\"trap '' TERM; echo $$ > {unit.folder}/pid; while :; do sleep 1; done\"]")
    unit.change(f"--input {unit.folder}/long.wav", "TimeoutStopSec=2")
    unit.do("start")
    manager.wait_for(lambda: (unit.folder / "pid").exists() and (unit.folder / "pid").read_text().strip())
    assert unit.do("stop") == 0
    assert (unit.state, unit.show("Result")) == ("inactive (dead)", "success")
    assert not unit.journal("Traceback")
    pid = (unit.folder / "pid").read_text().strip()
    manager.wait_for(lambda: manager.run("kill", "-0", pid).returncode)


def test_what_a_hook_left_running_goes_on(unit, manager):
    unit.configure(f'log_level: debug\nhooks: ["sleep 300 >/dev/null 2>&1 & echo $! > {unit.folder}/pid"]')
    unit.do("start")
    manager.wait_for(lambda: (unit.folder / "pid").exists() and (unit.folder / "pid").read_text().strip())
    manager.wait_for(lambda: unit.journal("exit code 0"))  # until then it is a part of the hook, which ends with chimed
    unit.do("restart")
    pid = (unit.folder / "pid").read_text().strip()
    manager.run("kill", pid, check=True)


def test_a_mute_outlives_a_crash(manager, server, tmp_path):
    unit = make_unit(manager, USER, tmp_path)
    chimed = (sys.executable, "-m", "daemon.cli")

    def open_microphones() -> int:
        return len(server.control("list", "short", "source-outputs").stdout.splitlines())

    def ask(*command: str) -> str:
        return manager.run(
            "env", f"PYTHONPATH={ROOT}", *chimed, *command, "--socket", "/run/chimed/control.sock"
        ).stdout

    try:
        unit.change("", *(f"Environment={name}={value}" for name, value in server.variables.items()))
        unit.do("start")
        assert open_microphones() == 1
        assert ask("mute") == "muted until `chimed unmute`\n"
        manager.wait_for(lambda: open_microphones() == 0)
        manager.run("kill", "-SEGV", unit.show("MainPID"), check=True)
        manager.wait_for(lambda: unit.show("NRestarts") == "1" and unit.state == "active (running)")
        assert unit.show("StatusText") == "muted until `chimed unmute`"
        assert open_microphones() == 0
        assert ask("unmute") == "listening again\n"
        manager.wait_for(lambda: unit.show("StatusText").startswith("listening to "))
        assert open_microphones() == 1
    finally:
        forget(manager, unit)


def test_the_system_unit_captures_as_a_user_of_its_own(manager, server, tmp_path):
    """Hardened as it ships; only what makes the test's own files visible is added."""
    unit = make_unit(manager, SYSTEM, tmp_path)
    unit.configure("hooks: ['id -un; touch ~/mine && ls ~; touch /etc/owned']")
    let_others_enter(tmp_path)
    server.folder.chmod(0o755)
    try:
        paths = " ".join(dict.fromkeys([sys.prefix, sys.base_prefix, str(ROOT), str(tmp_path), str(server.folder)]))
        anonymous = f"module-native-protocol-unix auth-anonymous=1 socket={server.folder}/open"
        server.control("load-module", *anonymous.split())
        variables = {"PULSE_SERVER": f"unix:{server.folder}/open"}
        unit.change(
            "",
            "ProtectHome=tmpfs",
            f"BindReadOnlyPaths={paths}",
            *(f"Environment={name}={value}" for name, value in variables.items()),
        )
        assert unit.do("start") == 0
        assert unit.show("StatusText").startswith("listening to ")
        server.say(recording(1, [0.3]))
        unit.wait_for("mine")
        assert unit.journal(f": {SYSTEM}")  # the user
        unit.wait_for("Read-only file system")
        assert unit.do("stop") == 0
        assert unit.show("Result") == "success"
    finally:
        forget(manager, unit)


# without a running systemd


@pytest.fixture
def analyze(tmp_path) -> Callable[..., subprocess.CompletedProcess[str]]:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")

    def analyze(unit: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        text = (ROOT / "systemd" / f"{unit}.service").read_text()
        (tmp_path / f"{unit}.service").write_text(text.replace("/usr/bin/chimed", sys.executable))
        command = ["systemd-analyze", *arguments, str(tmp_path / f"{unit}.service")]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    return analyze


@pytest.mark.parametrize("name", [USER, SYSTEM])
def test_systemd_finds_nothing_to_complain_about(analyze, name):
    done = analyze(name, "verify")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("name", "limit"), [(USER, 7.7), (SYSTEM, 1.8)])
def test_the_exposure_is_what_the_documentation_says(analyze, name, limit):
    done = analyze(name, "security", "--offline=true")
    score = float(re.search(r"Overall exposure level for .*: ([\d.]+)", done.stdout).group(1))
    assert score <= limit
    for document in ("README.md", "docs/service.md"):
        assert re.search(rf"\b{limit}\b", (ROOT / document).read_text())
