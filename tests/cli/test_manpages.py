"""The man pages: made from the parsers, complete, and without fault in the eyes of groff and mandoc."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.test_docs import PARSERS
from tests.support.paths import ROOT

sys.path.append(str(ROOT / "scripts"))
import manpages


@pytest.fixture(params=PARSERS)
def page(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """A program and its page."""
    name = str(request.param)
    file = tmp_path / f"{name}.1"
    file.write_text(manpages.page(PARSERS[name](), "1.2.3"))
    return name, file


def needs(program: str) -> None:
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed")


def test_mandoc_finds_no_fault(page):
    needs("mandoc")
    done = subprocess.run(["mandoc", "-T", "lint", page[1]], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("", "")


def test_groff_has_no_warning(page):
    needs("groff")
    done = subprocess.run(["groff", "-ww", "-man", "-z", "-Tutf8", page[1]], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def shown(file: Path) -> str:
    """The page as a terminal shows it, each run of white space as one space."""
    if shutil.which("mandoc"):
        command = ["mandoc", "-T", "ascii", "-O", "width=200", str(file)]
    else:
        needs("groff")
        command = ["groff", "-man", "-Tascii", "-P-c", "-rLL=200n", "-rHY=0", str(file)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    while "\b" in text:  # bold and underlined, as typewriters did it
        at = text.index("\b")
        text = text[: at - 1] + text[at + 1 :]
    return " ".join(text.split())


def test_every_command_option_and_example_is_in_it(page):
    name, file = page
    text = shown(file)
    commands = list(manpages.commands(PARSERS[name]()))
    assert len(commands) > 10
    for command in commands:
        # each begins with its usage
        _, found, section = text.partition(f" {command.prog} [-h]")
        assert found, command.prog
        section, _, _ = section.partition("[-h]")  # to the next one's
        for action in command._actions:
            for option in action.option_strings:
                assert action.dest == "help" or f" {option}" in section, f"{command.prog} {option}"
        for line in (command.epilog or "").splitlines():
            assert not line.startswith("  ") or " ".join(line.split()) in section, line
