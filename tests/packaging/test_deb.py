"""The Debian package: built, installed, used and removed in a copy of this machine's file system that then goes away.

The copy is an overlay: what is written there lies in a folder of its own, so what a removal leaves can be seen.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import daemon
from tests.support.packages import DEMO, ROOT, heard, outside, run, why_no_index

pytestmark = pytest.mark.packaging

MOUNT = """
mount -t tmpfs tmpfs "$1"
mkdir "$1"/upper "$1"/scratch "$1"/tree
mount -t overlay overlay -o lowerdir=/,upperdir="$1"/upper,workdir="$1"/scratch "$1"/tree
mount --rbind /proc "$1"/tree/proc
mount --rbind /dev "$1"/tree/dev
mount -t tmpfs tmpfs "$1"/tree/run
mount -t tmpfs tmpfs "$1"/tree/tmp
echo ready
exec sleep infinity
"""
CHANGES = ("etc/ld.so.cache", "var/lib/dpkg", "var/log", "var/cache", "usr/lib/systemd")  # of apt and dpkg


class Copy:
    """A copy of this machine, in which root's commands can be run without changing the machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        command = ["unshare", "--mount", "--propagation", "private", "bash", "-ec", MOUNT, "bash", str(folder)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self._process.stdout is not None
        if (said := self._process.stdout.readline()) != "ready\n":
            self._process.wait()
            pytest.skip(f"no overlay of the file system can be mounted here: {said.strip()}")

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command in there with Debian's own path."""
        enter = ["nsenter", "-t", str(self._process.pid), "--mount", "chroot", f"{self._folder}/tree"]
        path = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"
        done = subprocess.run(
            [*enter, "env", "-i", path, "HOME=/tmp", "DEBIAN_FRONTEND=noninteractive", *command],
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def written(self) -> set[str]:
        """The files and folders that were written or removed in there since the start."""
        listed = self._enter("find", f"{self._folder}/upper", "-mindepth", "1", "-printf", "%P\\n")
        return set(listed.stdout.splitlines())

    def put(self, file: Path) -> str:
        """Copy a file into its /tmp; its name there."""
        self._enter("cp", str(file), f"{self._folder}/tree/tmp/")
        return f"/tmp/{file.name}"

    def _enter(self, *command: str) -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", "-t", str(self._process.pid), "--mount", *command]
        return subprocess.run(enter, capture_output=True, text=True, check=True, timeout=60)

    def close(self) -> None:
        """Let it go."""
        self._process.kill()
        self._process.wait()


@pytest.fixture(scope="module")
def package() -> Path:
    """The package of this tree, as `make deb` builds it."""
    if not all(map(shutil.which, ("dpkg-deb", "apt-get"))):
        pytest.skip("this is no Debian")
    if reason := why_no_index():
        pytest.skip(reason)
    if not os.access("/usr/bin/python3", os.X_OK):
        pytest.skip("Debian's own Python is not installed")
    subprocess.run([ROOT / "scripts/deb"], env=outside() | {"PYTHON": sys.executable}, check=True, timeout=280)
    architecture = run("dpkg", "--print-architecture").strip()
    return ROOT / "dist" / f"chimed_{daemon.__version__}_{architecture}.deb"


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Copy]:
    if os.geteuid() != 0:
        pytest.skip("only root can install packages")
    if not all(map(shutil.which, ("unshare", "nsenter"))):
        pytest.skip("unshare and nsenter are not installed")
    copy = Copy(tmp_path)
    yield copy
    copy.close()


def test_it_says_what_it_needs(package):
    fields = {name: run("dpkg-deb", "-f", package, name).strip() for name in ("Depends", "Version", "Package")}
    assert (fields["Package"], fields["Version"]) == ("chimed", daemon.__version__)
    assert {"libportaudio2"} <= set(fields["Depends"].split(", "))
    assert "python3 (>= 3." in fields["Depends"]


def test_its_files_are_where_debian_has_them_and_belong_to_root(package):
    lines = run("dpkg-deb", "-c", package).splitlines()
    files = {line.split()[5][1:]: line.split()[:2] for line in lines}
    assert {
        "/usr/bin/chimed",
        "/usr/lib/systemd/user/chimed.service",
        "/usr/lib/chimed/model/words/activate.npz",
        "/usr/share/bash-completion/completions/chimed",
        "/usr/share/zsh/vendor-completions/_chimed",
        "/usr/share/fish/vendor_completions.d/chimed.fish",
        "/usr/share/man/man1/chimed.1.gz",
        "/usr/share/doc/chimed/copyright",
        "/usr/share/doc/chimed/examples/config.example.yaml",
    } <= files.keys()
    assert {owner for _, owner in files.values()} == {"root/root"}
    assert not [name for name, (mode, _) in files.items() if mode[5] == "w" or mode[8] == "w"]
    assert not [name for name in files if "tensorflow" in name or "__pycache__" in name]


def test_it_is_installed_used_and_removed_without_a_trace(package, copy):
    deb, demo = copy.put(package), copy.put(DEMO)
    before = copy.written()
    # what it depends on is fetched where it is missing; then apt would need its lists
    copy.run("apt-get", "install", "-y", "-qq", "--no-install-recommends", "--no-remove", deb)
    assert copy.run("chimed", "--version").stdout == f"chimed {daemon.__version__}\n"
    assert copy.run("chimed", "detect", demo).stdout.replace("/tmp/", f"{DEMO.parent}/") == heard()
    assert 'heard "activate"' in copy.run("chimed", "run", "--input", demo, "--fast").stderr
    unit = "/usr/lib/systemd/user/chimed.service"
    verified = copy.run("env", "XDG_RUNTIME_DIR=/run", "systemd-analyze", "verify", "--user", unit, check=False)
    assert (verified.returncode, verified.stderr) == (0, "")
    assert copy.run("dpkg", "--verify", "chimed").stdout == ""
    assert any("__pycache__" in name for name in copy.written())  # compiled once, by root
    # a microphone is looked for with the PortAudio that it depends on
    devices = copy.run("chimed", "devices", check=False)
    assert "Traceback" not in devices.stderr
    assert "PortAudio is not installed" not in devices.stderr
    if shutil.which("man"):
        assert "wake-word daemon" in copy.run("man", "-P", "cat", "chimed").stdout

    copy.run("apt-get", "purge", "-y", "-qq", "chimed")
    left = sorted(name for name in copy.written() - before if "chimed" in name and not name.startswith(CHANGES))
    assert left == []
