"""`chimed service`: installed, described and removed under the real systemd of a session without privileges."""

from __future__ import annotations

import os
import re
import shutil
import stat
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daemon.cli import systemd_service
from daemon.cli.systemd_service import unit_text
from model import modelfile
from tests.support.chimed import call_chimed, recording, tone_model
from tests.support.paths import ROOT, let_others_enter
from tests.support.soundserver import SoundServer, private
from tests.support.systemd_manager import Manager
from tests.support.systemd_manager import manager as manager  # noqa: PLC0414 - a fixture

pytestmark = pytest.mark.integration

USER = "nobody"


class Session:
    """A `systemd --user` of a user without privileges, whose microphone is that of a sound server."""

    def __init__(self, manager: Manager, folder: Path, server: SoundServer) -> None:
        self._manager = manager
        self.home = folder
        anonymous = f"module-native-protocol-unix auth-anonymous=1 socket={server.folder}/open"
        server.control("load-module", *anonymous.split())
        (folder / ".config" / "chimed").mkdir(parents=True)
        modelfile.save(folder / "beep.npz", tone_model())
        self.configure(f"words: [{{model: {folder}/beep.npz}}]\nhooks: ['id -un']\n")
        let_others_enter(folder)
        server.folder.chmod(0o755)
        shutil.chown(folder, USER)
        for path in folder.rglob("*"):
            shutil.chown(path, USER)
        # what lies in root's home must be visible to this user
        visible = " ".join(dict.fromkeys([sys.prefix, sys.base_prefix, str(ROOT), str(folder), str(server.folder)]))
        self.variables = {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": "/run/session",
            "PYTHONPATH": str(ROOT),
            "PULSE_SERVER": f"unix:{server.folder}/open",
        }
        lines = [f"Environment={name}={value}" for name, value in self.variables.items()]
        (manager.units / "session.service").write_text(
            "[Service]\nType=notify\nExecStart=/lib/systemd/systemd --user\nDelegate=yes\nRuntimeDirectory=session\n"
            f"User={USER}\nProtectHome=tmpfs\nPrivateTmp=yes\nBindPaths={visible}\n" + "\n".join(lines) + "\n"
        )
        manager.control("daemon-reload", check=True)
        manager.control("start", "session", check=True)

    def configure(self, text: str) -> None:
        """Write the configuration file."""
        (self.home / ".config" / "chimed" / "config.yaml").write_text(text)

    def run(self, *command: str) -> tuple[int, str, str]:
        """Run a command as the user, in the session; exit code, output and errors."""
        pid = self._manager.show("session", "MainPID")
        enter = ["nsenter", "-t", pid, "--mount", "setpriv", "--reuid", USER, "--clear-groups"]
        variables = [f"{name}={value}" for name, value in self.variables.items()]
        done = self._manager.run(*enter, "env", *variables, *command)
        return done.returncode, done.stdout, done.stderr

    def chimed(self, *arguments: str) -> tuple[int, str, str]:
        """Run `chimed`."""
        return self.run(sys.executable, "-m", "daemon.cli", *arguments)


@pytest.fixture
def session(manager: Manager, tmp_path: Path) -> Iterator[Session]:
    for server in private(SoundServer):
        server.start()
        yield Session(manager, tmp_path, server)
        manager.control("kill", "-s", "KILL", "session")
        manager.control("stop", "session")
        (manager.units / "session.service").unlink()


def test_it_installs_runs_and_removes_all_it_made(session, manager):
    code, said, errors = session.chimed("service", "install")
    unit = session.home / ".config/systemd/user/chimed.service"
    assert (code, errors) == (0, "")
    lines = said.splitlines()
    assert lines[0] == f"wrote {unit}, which starts {sys.executable} -m daemon.cli"
    assert lines[1:4] == [
        "systemctl --user daemon-reload",
        "systemctl --user enable chimed.service",
        "systemctl --user restart --no-block chimed.service",
    ]
    manager.wait_for(lambda: "enabled, active (running)" in session.chimed("service", "status")[1])
    code, said, _ = session.chimed("service", "status")
    assert code == 0
    # without a microphone it would never be ready, and what waits for the target would wait, too
    target = session.run("systemctl", "--user", "show", "-p", "After", "-p", "Wants", "default.target")[1]
    assert [line.partition("=")[0] for line in target.splitlines() if "chimed.service" in line] == ["Wants"]
    assert "listening to microphone" in said
    assert "journalctl --user -u chimed" in said
    assert session.chimed("status")[1].startswith("listening to ")
    assert session.chimed("trigger", "beep")[1] == "triggered beep\n"
    # as this user, in whose journal the hook's line is
    manager.wait_for(lambda: f": {USER}" in manager.run("journalctl", "-o", "cat", "--no-pager").stdout)
    assert session.run("systemctl", "--user", "reload", "chimed")[0] == 0

    code, said, errors = session.chimed("service", "uninstall")
    assert (code, errors) == (0, "")
    assert said.splitlines() == [
        "systemctl --user disable --now chimed.service",
        f"removed {unit}",
        "systemctl --user daemon-reload",
    ]
    assert [path for path in (session.home / ".config/systemd").rglob("*") if not path.is_dir()] == []
    code, said, _ = session.chimed("service", "status")
    assert code == 3
    assert said.startswith("chimed.service: not installed, inactive (dead)\n")
    assert session.chimed("status")[0] == 1


def test_a_unit_that_was_linked_is_replaced_and_what_the_link_led_to_stays(session):
    linked = session.home / "linked" / "chimed.service"
    linked.parent.mkdir()
    shutil.copy(ROOT / "systemd" / "chimed.service", linked)
    for path in (linked, linked.parent):
        shutil.chown(path, USER)
    text = linked.read_text()
    assert session.run("systemctl", "--user", "link", str(linked))[0] == 0
    assert session.chimed("service", "install")[0] == 0
    unit = session.home / ".config/systemd/user/chimed.service"
    assert not unit.is_symlink()
    assert linked.read_text() == text
    unit.unlink()
    assert session.run("systemctl", "--user", "link", str(linked))[0] == 0
    code, _, errors = session.chimed("service", "uninstall")
    assert (code, errors) == (0, "")
    assert linked.read_text() == text


def test_the_documented_drop_in_gives_hooks_what_they_need_for_sudo(session, manager):
    drop_in = re.search(r"```ini\n(.*?)```", (ROOT / "docs" / "service.md").read_text(), re.DOTALL).group(1)
    session.configure(f"words: [{{model: {session.home}/beep.npz}}]\nhooks: ['grep NoNewPrivs /proc/self/status']\n")
    folder = session.home / ".config/systemd/user/chimed.service.d"

    def privileges() -> int:
        """Whether the hook that runs now may gain no new ones, as the kernel says."""
        manager.wait_for(lambda: session.chimed("trigger", "beep")[0] == 0)
        line = re.compile(r"NoNewPrivs:\s+(\d)")
        manager.wait_for(lambda: len(line.findall(manager.run("journalctl", "-o", "cat").stdout)) > len(seen))
        seen[:] = line.findall(manager.run("journalctl", "-o", "cat").stdout)
        return int(seen[-1])

    seen: list[str] = []
    assert session.chimed("service", "install")[0] == 0
    assert privileges() == 1
    folder.mkdir()
    (folder / "override.conf").write_text(drop_in)
    assert session.run("systemctl", "--user", "daemon-reload")[0] == 0
    assert session.run("systemctl", "--user", "restart", "chimed")[0] == 0
    assert privileges() == 0
    assert f"left {folder}, which chimed did not make" in session.chimed("service", "uninstall")[1]
    assert (folder / "override.conf").exists()


def test_a_wrong_configuration_is_named_before_anything_is_changed(session):
    session.configure("hook: []")
    code, said, errors = session.chimed("service", "install")
    assert (code, said) == (78, "")
    assert "unknown key; did you mean 'hooks'?" in errors
    assert not (session.home / ".config/systemd").exists()


def test_what_is_not_installed_cannot_be_removed(session):
    code, said, errors = session.chimed("service", "uninstall")
    assert (code, said) == (1, "")
    assert "it is not installed" in errors


# the system's


@pytest.fixture
def machine(manager: Manager) -> Iterator[tuple[Callable[..., tuple[int, str, str]], SoundServer]]:
    """Runs chimed as root, with the machine's Python and folders of its own in the place of those that it writes to."""
    python = Path("/usr/bin/python3")
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if not python.exists() or manager.run(str(python), "--version").stdout.split()[1].rsplit(".", 1)[0] != version:
        pytest.skip(f"there is no /usr/bin/python3 of version {version}, which the packages here are for")
    mounts: list[str] = []

    def mount(place: str, *source: str) -> None:
        manager.run("mount", *source, place, check=True)
        mounts.append(place)

    variables = ["PYTHONPATH=/opt/chimed:/opt/site", "PULSE_SERVER=unix:/opt/sound/open"]

    def chimed(*arguments: str) -> tuple[int, str, str]:
        done = manager.run("env", "-C", "/", *variables, str(python), "-m", "daemon.cli", *arguments)
        return done.returncode, done.stdout, done.stderr

    for server in private(SoundServer):
        server.start()
        anonymous = f"module-native-protocol-unix auth-anonymous=1 socket={server.folder}/open"
        server.control("load-module", *anonymous.split())
        server.folder.chmod(0o755)
        manager.run("cp", "-a", "/etc", "/run/etc", check=True)
        mount("/etc", "--bind", "/run/etc")
        manager.run("rm", "-rf", "/etc/chimed", check=True)  # in the copy
        manager.run("mkdir", "-p", "/etc/systemd/system", check=True)
        mount("/etc/systemd/system", "--bind", str(manager.units))
        mount("/var/lib", "-t", "tmpfs", "tmpfs")
        mount("/opt", "-t", "tmpfs", "tmpfs")
        places = {"site": sysconfig.get_path("purelib"), "chimed": str(ROOT), "sound": str(server.folder)}
        for name, source in places.items():
            manager.run("mkdir", f"/opt/{name}", check=True)
            mount(f"/opt/{name}", "--bind", source)
        (manager.units / "chimed.service.d").mkdir()
        lines = [f"Environment={variable}" for variable in variables]
        (manager.units / "chimed.service.d" / "test.conf").write_text("\n".join(["[Service]", *lines, ""]))

        yield chimed, server
        manager.control("kill", "-s", "KILL", "chimed")
        manager.control("stop", "chimed")
        for place in reversed(mounts):
            manager.run("umount", "-l", place, check=True)
        shutil.rmtree(manager.units / "chimed.service.d")


def test_the_systems_service_is_installed_runs_and_is_removed(machine, manager):
    chimed, server = machine
    modelfile.save(server.folder / "beep.npz", tone_model())
    (server.folder / "beep.npz").chmod(0o644)
    assert chimed("service", "install", "--system")[0] == 0  # without a configuration
    manager.wait_for(lambda: "active (running)" in chimed("service", "status", "--system")[1])
    text = "words: [{model: /opt/sound/beep.npz}]\nhooks: ['id -un']\n"
    write = f"umask 022; mkdir -p /etc/chimed; printf '%s' \"{text}\" > /etc/chimed/config.yaml"
    manager.run("sh", "-c", write, check=True)
    code, said, errors = chimed("service", "install", "--system")  # again, as after an upgrade
    assert (code, errors) == (0, "")
    assert said.splitlines()[0] == (
        "wrote /etc/systemd/system/chimed.service, which starts /usr/bin/python3 -m daemon.cli"
    )
    manager.wait_for(lambda: "active (running)" in chimed("service", "status", "--system")[1])
    assert "listening to microphone" in chimed("service", "status", "--system")[1]
    assert "chimed.service" not in manager.show("multi-user.target", "After")  # nor does a boot wait for a microphone
    wanted = ("test", "-L", "/etc/systemd/system/multi-user.target.wants/chimed.service")  # it is enabled
    assert manager.run(*wanted).returncode == 0
    assert chimed("status")[1].startswith("listening to ")  # root finds the socket
    server.say(recording(1, [0.3]))
    # as a user of its own
    manager.wait_for(lambda: "hook 'id -un': chimed" in manager.run("journalctl", "-o", "cat", "--no-pager").stdout)
    code, said, errors = chimed("service", "uninstall", "--system")
    assert (code, errors) == (0, "")
    assert "removed /etc/systemd/system/chimed.service" in said
    assert not (manager.units / "chimed.service").exists()
    assert manager.run(*wanted).returncode == 1
    assert chimed("service", "status", "--system")[0] == 3


# what needs no systemd


@pytest.fixture
def programs(tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """A path on which `systemctl` is this script."""

    def programs(script: str) -> dict[str, str]:
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "bin" / "systemctl").write_text(script)
        (tmp_path / "bin" / "systemctl").chmod(0o755)
        return {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}

    return programs


def test_without_systemd_it_says_so(environment):
    done = call_chimed(["service", "status"], environment | {"PATH": "/nowhere"})
    assert done.returncode == 1
    assert "this machine has no systemd" in done.stderr


def test_without_a_session_nothing_is_left(environment, programs):
    refusing = "#!/bin/sh\necho Failed to connect to bus: No medium found >&2; exit 1\n"
    done = call_chimed(["service", "install"], environment | programs(refusing))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "chimed: `systemctl --user daemon-reload` failed: Failed to connect to bus: No medium found\n"
    assert not (Path(environment["HOME"]) / ".config").exists()


def test_without_a_session_its_state_is_not_made_up(environment, programs):
    refusing = "#!/bin/sh\necho Failed to connect to bus: No medium found >&2; exit 1\n"
    done = call_chimed(["service", "status"], environment | programs(refusing))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("chimed: `systemctl --user show ")
    assert done.stderr.endswith(" failed: Failed to connect to bus: No medium found\n")


def test_the_units_are_written_for_the_systemd_that_is_there():
    template = (ROOT / "systemd" / "chimed.service").read_text()
    old, new = unit_text(template, "/opt/chimed", 252), unit_text(template, "/opt/chimed", 253)
    assert old == template.replace("/usr/bin/chimed", "/opt/chimed")
    assert "\nExecStart=/opt/chimed run\n" in old
    assert "\nType=notify\n" in old
    assert "\nExecReload=" in old
    assert "\nType=notify-reload\n" in new
    assert "ExecReload=" not in new


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/home/a/.local/bin/chimed", "/home/a/.local/bin/chimed"),
        ("/a b/100%/chimed", '"/a b/100%%/chimed"'),
        ('/a"b\\/chimed', '"/a\\"b\\\\/chimed"'),
    ],
)
def test_the_command_is_this_one_as_units_write_it(monkeypatch, path, expected):
    monkeypatch.setattr(sys, "argv", [path])
    assert systemd_service._chimed() == expected


def test_the_systems_service_is_roots_and_needs_a_chimed_that_all_can_run(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(systemd_service.ChimedError, match="is root's to change: sudo"):
        systemd_service._system()
    monkeypatch.setattr(sys, "prefix", "/home/me/.local/venv")
    with pytest.raises(systemd_service.ChimedError, match=r"cannot run what lies in /home/me/\.local/venv; install"):
        systemd_service._check_visible()


def test_the_units_are_no_programs():
    for path in (ROOT / "systemd").iterdir():
        assert not path.stat().st_mode & stat.S_IXUSR
