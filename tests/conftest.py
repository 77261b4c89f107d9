"""What all tests share: the state of the process, and a user's `chimed` with a model that hears one tone."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest
from hypothesis import settings

from model import modelfile
from tests.support.chimed import Chimed, call_chimed, tone_model, user_environment

# what holds for every split holds at any speed: a busy machine must not fail it
settings.register_profile("chimed", deadline=None)
settings.load_profile("chimed")

# Whoever runs the tests in the background (a shell's &, nohup) has Ctrl-C or a hang-up ignored, and so would every
# process that they start. What is handled here, not ignored, is as usual there.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler)


@pytest.fixture(autouse=True)
def threads_as_they_were() -> Iterator[None]:
    """`chimed-train` limits its own process to one thread; where a test calls it in this one, no other sees that."""
    names = [f"{library}_NUM_THREADS" for library in ("OPENBLAS", "OMP", "MKL")]
    before = {name: os.environ.get(name) for name in names}
    yield
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    """A model file that hears the word "beep" in a tone of 3 kHz."""
    path = tmp_path / "beep.npz"
    modelfile.save(path, tone_model())
    return path


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a user who has configured nothing and has no sound server."""
    return user_environment(tmp_path)


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Callable[..., Chimed]]:
    """Starts `chimed` with these arguments; what still runs after the test is killed."""
    started: list[Chimed] = []

    def start(*arguments: str | Path, stdin: int | IO[bytes] = subprocess.DEVNULL, **variables: str) -> Chimed:
        started.append(Chimed(arguments, environment | variables, stdin))
        return started[-1]

    yield start
    for chimed in started:
        chimed.process.kill()
        chimed.process.wait()


@pytest.fixture
def call(environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `chimed` with these arguments to its end."""

    def call(*arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        return call_chimed(arguments, environment | variables)

    return call
