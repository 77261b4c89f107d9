"""What the tests of packages share: whether a package index can be reached, and building from the tree."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.paths import ROOT

DEMO = ROOT / "tests" / "data" / "activate-demo.flac"


def outside() -> dict[str, str]:
    """The environment of someone who has no clone: nothing of it can be imported."""
    return {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}


def run(*command: object, folder: Path | None = None, **variables: str) -> str:
    """What a command says on standard output; fails, with all that it said, if it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=outside() | variables,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@functools.cache
def why_no_index() -> str:
    """Why packages cannot be fetched; empty if they can."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-cache-dir", "-d", folder, "shtab"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    return f"no package index: {done.stderr.strip().splitlines()[-1]}" if done.returncode else ""


@functools.cache
def heard() -> str:
    """What `chimed detect` says of the demonstration recording in this clone."""
    done = subprocess.run(
        [sys.executable, "-m", "daemon.cli", "detect", DEMO],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.count("activate") > 1
    return done.stdout
