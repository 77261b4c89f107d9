"""A real systemd with a journal, as PID 1 of namespaces of its own: nothing of the machine's own services runs in it.

Needs root, a kernel that lets namespaces be made, and Debian's package systemd; what is missing skips the test.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SYSTEMD = Path("/lib/systemd/systemd")
UNITS = Path("/lib/systemd/system")
TARGETS = (
    "basic sysinit sockets paths slices timers shutdown umount final local-fs local-fs-pre multi-user rescue swap "
    "network network-online sound exit halt poweroff"
)
JOURNAL = ("systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket")

BOOT = """
set -e
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
umount -R /sys/fs/cgroup || umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /run/systemd
head -c16 /dev/urandom | od -An -tx1 | tr -d ' \\n' >/run/machine-id
mount --bind /run/machine-id /etc/machine-id
exec env -i PATH="$PATH" container=other SYSTEMD_UNIT_PATH="$1" SYSTEMD_LOG_TARGET=journal-or-kmsg \\
    /lib/systemd/systemd --system --unit=multi-user.target --show-status=no
"""


def why_not() -> str:
    """What this machine lacks; empty if it has everything."""
    if os.geteuid() != 0:
        return "only root can start a systemd of its own"
    missing = [str(path) for path in (SYSTEMD, UNITS / "systemd-journald.service") if not path.exists()]
    missing += [program for program in ("unshare", "nsenter", "systemctl", "journalctl") if not shutil.which(program)]
    if missing:
        return f"not installed: {', '.join(missing)}"
    if _cgroup() is None:
        return "no cgroup v2 hierarchy that can be written"
    trial = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount", "--uts", "--ipc", "--cgroup", "mount", "-t", "proc", "proc", "/proc"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"namespaces cannot be made here ({trial.stderr.strip()})" if trial.returncode else ""


def _cgroup() -> Path | None:
    """The root of a cgroup v2 hierarchy in which folders can be made."""
    for root in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")):
        if (root / "cgroup.procs").exists() and (root / "cgroup.controllers").exists() and os.access(root, os.W_OK):
            return root
    return None


class Manager:
    """A running systemd; its units lie in `folder`/units. Fails if it does not come up."""

    def __init__(self, folder: Path) -> None:
        self.units = folder / "units"
        self.units.mkdir()
        for name in [*(f"{target}.target" for target in TARGETS.split()), *JOURNAL]:
            if (UNITS / name).exists():
                shutil.copy(UNITS / name, self.units / name)
        for wants, names in {"sockets.target": JOURNAL[1:], "sysinit.target": JOURNAL[:1]}.items():
            (self.units / f"{wants}.wants").mkdir()
            for name in names:
                (self.units / f"{wants}.wants" / name).symlink_to(self.units / name)
        self._folder = folder
        root = _cgroup()
        assert root is not None
        self._cgroup = cgroup = Path(tempfile.mkdtemp(prefix="chimedtest", dir=root))
        cgroup.chmod(0o755)  # the session of a user without privileges lies in it
        (folder / "boot.sh").write_text(BOOT)
        enter = (
            f"echo $$ >{cgroup}/cgroup.procs; exec unshare --pid --fork --mount --propagation private --uts --ipc "
            f"--cgroup --kill-child bash {folder}/boot.sh {self.units}"
        )
        with (folder / "boot.log").open("w") as log:
            self._process = subprocess.Popen(
                ["bash", "-c", enter], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.wait_for(lambda: self._find() and self.control("is-active", "multi-user.target").stdout == "active\n")

    def _find(self) -> bool:
        """Whether the new PID 1 is there."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self._pid = int(children[0]) if children else 0
        with contextlib.suppress(OSError):
            return bool(self._pid) and Path(f"/proc/{self._pid}/comm").read_text() == "systemd\n"
        return False

    def run(self, *command: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        """Run a command in there, as root, with no environment but the path."""
        enter = ["nsenter", "-t", str(self._pid), "--all", "env", "-i", f"PATH={os.environ['PATH']}"]
        return subprocess.run([*enter, *command], capture_output=True, text=True, check=check, timeout=120)

    def control(self, *arguments: str, check: bool = False) -> subprocess.CompletedProcess[str]:
        """Run systemctl."""
        return self.run("systemctl", *arguments, check=check)

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.control("show", "--value", "-p", name, unit, check=True).stdout.strip()

    def journal(self, unit: str) -> list[tuple[int, str]]:
        """Priority and text of each line that the unit's processes logged."""
        command = ("journalctl", "-o", "json", f"_SYSTEMD_UNIT={unit}.service")
        lines: list[dict[str, Any]] = [json.loads(line) for line in self.run(*command, check=True).stdout.splitlines()]
        return [(int(line["PRIORITY"]), str(line["MESSAGE"])) for line in lines]

    def wait_for(self, condition: Callable[[], Any], seconds: float = 60) -> None:
        """Return once it holds; fails if it does not come to."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert self._process.poll() is None, (self._folder / "boot.log").read_text()
            assert time.monotonic() < deadline, self.run("journalctl", "-n", "60", "--no-pager").stdout
            time.sleep(0.05)

    def close(self) -> None:
        """End it and all that runs in it."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        deadline = time.monotonic() + 20
        while self._cgroup.exists() and time.monotonic() < deadline:  # what was killed takes a moment to go
            for folder in (*sorted(self._cgroup.rglob("*/"), reverse=True), self._cgroup):
                with contextlib.suppress(OSError):
                    folder.rmdir()
            time.sleep(0.05)


@pytest.fixture(scope="module")
def manager(tmp_path_factory: pytest.TempPathFactory):
    """One systemd for all tests of a file."""
    if reason := why_not():
        pytest.skip(reason)
    manager = Manager(tmp_path_factory.mktemp("systemd"))
    yield manager
    manager.close()
