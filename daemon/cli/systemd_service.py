"""`chimed service`: puts the unit that ships where systemd finds it, with the right command, or takes it away."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from daemon.config import settings
from daemon.listening import listening_plan
from daemon.system.errors import ChimedError
from daemon.system.terminal import say

UNIT_NAME = "chimed.service"
SHIPPED_COMMAND = "/usr/bin/chimed"
NOTIFY_RELOAD = 253  # the version of systemd that lets `systemctl reload` wait for its end
START_WAIT_SECONDS = 10.0  # s to see what becomes of a start
HIDDEN = ("/root", "/home", "/tmp", "/run/user")  # noqa: S108 - what the system unit does not see


@dataclass(frozen=True)
class UnitPlace:
    """Where a unit goes, and whose systemd runs it."""

    folder: Path
    template: str
    control: tuple[str, ...]

    @property
    def unit(self) -> Path:
        """The unit's file."""
        return self.folder / UNIT_NAME

    @property
    def hint(self) -> str:
        """Where its log is."""
        return f"journalctl {'--user ' if '--user' in self.control else ''}-u chimed"


def command(args: argparse.Namespace) -> int:
    """Install, uninstall or describe the service, saying what is done. Raises ChimedError."""
    if not shutil.which("systemctl"):
        raise ChimedError("this machine has no systemd (no systemctl); start `chimed run` by its own service manager")
    place = _system() if args.system else _session()
    if args.action == "install":
        _install(place)
    elif args.action == "uninstall":
        _uninstall(place)
    else:
        return _describe(place)
    return 0


def _session() -> UnitPlace:
    folder = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return UnitPlace(Path(folder).expanduser() / "systemd" / "user", UNIT_NAME, ("systemctl", "--user"))


def _system() -> UnitPlace:
    if os.geteuid() != 0:
        raise ChimedError("the system's service is root's to change: sudo chimed service ... --system")
    return UnitPlace(Path("/etc/systemd/system"), "chimed-system.service", ("systemctl",))


def _install(place: UnitPlace) -> None:
    start = _chimed()
    if place.template != UNIT_NAME:
        _check_visible()
    listening_plan.load_plan(
        listening_plan.with_overrides(settings.load(None if place.template == UNIT_NAME else _system_file()))
    )  # or a ConfigError
    text = unit_text(_template(place.template), start, _version())
    _run(place, "daemon-reload")  # fails here, before anything is changed, if there is no such systemd
    try:
        place.folder.mkdir(parents=True, exist_ok=True)
        if place.unit.is_symlink():  # `systemctl link`: what it leads to is not ours to write
            place.unit.unlink()
        place.unit.write_text(text)
    except OSError as error:
        raise ChimedError(f"{place.unit}: {error.strerror}") from error
    say(f"wrote {place.unit}, which starts {start}")
    for arguments in (("daemon-reload",), ("enable", UNIT_NAME), ("restart", "--no-block", UNIT_NAME)):
        _run(place, *arguments, told=True)
    deadline = time.monotonic() + START_WAIT_SECONDS
    while _show(place, "ActiveState") == "activating" and time.monotonic() < deadline:
        time.sleep(0.1)
    _describe(place)
    if place.template == UNIT_NAME:
        say("It runs while you are logged in; to have it run from the machine's start on: loginctl enable-linger")


def _uninstall(place: UnitPlace) -> None:
    if not place.unit.exists():
        raise ChimedError(f"it is not installed: there is no {place.unit}")
    _run(place, "disable", "--now", UNIT_NAME, told=True)
    place.unit.unlink(missing_ok=True)  # `disable` removes what `systemctl link` made
    say(f"removed {place.unit}")
    _run(place, "daemon-reload", told=True)
    additions = place.folder / f"{UNIT_NAME}.d"
    if additions.exists():
        say(f"left {additions}, which chimed did not make")


def _describe(place: UnitPlace) -> int:
    """Say how things stand; 0 if it runs, as `systemctl is-active` has it 3 if not."""
    active = _show(place, "ActiveState")
    enabled = _show(place, "UnitFileState") or "not installed"
    say(f"{UNIT_NAME}: {enabled}, {active} ({_show(place, 'SubState')})")
    if status := _show(place, "StatusText"):
        say(status)
    say(f"its log: {place.hint}")
    return 0 if active == "active" else 3


def unit_text(template: str, start: str, version: int) -> str:
    """The unit that ships, for this command and this version of systemd."""
    text = template.replace(SHIPPED_COMMAND, start)
    if version >= NOTIFY_RELOAD:
        text = text.replace("Type=notify\n", "Type=notify-reload\n")
        text = re.sub(r"^ExecReload=.*\n", "", text, flags=re.MULTILINE)
    return text


def _chimed() -> str:
    """The command that starts this very chimed, as units write it."""
    script = Path(sys.argv[0]).absolute()
    line = [str(script)] if script.name == "chimed" else [sys.executable, "-m", "daemon.cli"]
    return " ".join(map(_quoted, line))


def _quoted(word: str) -> str:
    """A word of a command line in a unit."""
    word = word.replace("%", "%%").replace("\\", "\\\\").replace('"', '\\"')
    return f'"{word}"' if any(char in word for char in " '\"\\") else word


def _check_visible() -> None:
    """Raise ChimedError if this chimed lies where the system's service cannot run it."""
    for path in (sys.prefix, sys.base_prefix, str(Path(__file__).parent)):
        if any(Path(path).is_relative_to(hidden) for hidden in HIDDEN):
            raise ChimedError(
                f"the system's service has a user of its own, who cannot run what lies in {path}; install chimed "
                "where everyone can: python3 -m venv /opt/chimed && /opt/chimed/bin/pip install ."
            )


def _system_file() -> Path | None:
    return settings.SYSTEM_FILE if settings.SYSTEM_FILE.exists() else None


def _template(name: str) -> str:
    """A unit as it ships: in the package where chimed is installed, beside the package in a clone."""
    here = Path(__file__).parents[1]
    for folder in (here / "systemd", here.parent / "systemd"):
        if (folder / name).is_file():
            return (folder / name).read_text()
    raise ChimedError(f"{name} did not come with this chimed")


def _version() -> int:
    said = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\d+", said)
    return int(found.group()) if found else 0


def _run(place: UnitPlace, *arguments: str, told: bool = False) -> str:
    """Run systemctl; what it prints. Raises ChimedError with its reason."""
    line = [*place.control, *arguments]
    if told:
        say(shlex.join(line))
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ChimedError(f"`{shlex.join(line)}` failed: {reason}")
    return done.stdout


def _show(place: UnitPlace, name: str) -> str:
    return _run(place, "show", "--value", "-p", name, UNIT_NAME).strip()
