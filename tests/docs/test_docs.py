"""The documentation keeps up with the code: its links lead somewhere, its commands and settings are understood.

Commands are parsed here with the programs' own parsers, all of them; `test_docs_run.py` runs those that can be run.
"""

from __future__ import annotations

import argparse
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import daemon.cli.main
import training.cli.main
from daemon.config import settings
from tests.support.paths import ROOT

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
FORM = ROOT / ".github" / "ISSUE_TEMPLATE" / "bug.yml"
PARSERS = {"chimed": daemon.cli.main.parser, "chimed-train": training.cli.main.parser}
OPERATOR = re.compile(r"[|&;<>()]+")

page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)


def blocks(text: str, language: str) -> Iterator[str]:
    """The fenced blocks of this language."""
    for found in re.finditer(rf"^( *)```{language}\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL):
        yield textwrap.dedent(found.group(2))


def prose(text: str) -> str:
    """The text without its fenced blocks."""
    return re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.MULTILINE | re.DOTALL)


def anchors(text: str) -> set[str]:
    """What a link can name after "#", as GitHub derives it from the headings."""
    headings = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def calls(script: str) -> Iterator[list[str]]:
    """Each call of one of our programs in a shell script: its name, then its arguments."""
    for line in script.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>()")
        lexer.whitespace_split = True
        words: list[str] = []
        redirected = False
        for token in [*lexer, ";"]:
            if redirected or not OPERATOR.fullmatch(token):
                words += [token][redirected:]  # a file that is written to is no argument
                redirected = False
                continue
            if redirected := bool({"<", ">"} & set(token)):
                continue
            while words and (words[0] == "sudo" or re.match(r"\w+=", words[0])):
                del words[0]
            if words and Path(words[0]).name in PARSERS:
                yield [Path(words[0]).name, *words[1:]]
            words = []


def subcommands(parser: argparse.ArgumentParser) -> set[str]:
    """The names of its commands."""
    return {name for action in parser._actions if isinstance(action.choices, dict) for name in action.choices}


def test_calls_are_found_in_shell_scripts():
    script = (
        "sudo A=1 /opt/chimed/bin/chimed status   # and why\n"
        "ffmpeg -i x - | chimed run \\\n    --input - && chimed-train word 'a b' > log/chimed\n"
        "systemctl reload chimed\n"
    )
    assert list(calls(script)) == [
        ["chimed", "status"],
        ["chimed", "run", "--input", "-"],
        ["chimed-train", "word", "a b"],
    ]


@page
def test_links_lead_somewhere(page):
    text = page.read_text()
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(text)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert file.is_relative_to(ROOT), target
        if anchor:
            assert anchor in anchors(file.read_text()), target


@page
def test_commands_are_understood(page):
    for script in blocks(page.read_text(), "sh"):
        for name, *arguments in calls(script):
            try:
                PARSERS[name]().parse_args(arguments)
            except SystemExit as ended:
                if ended.code:
                    pytest.fail(f"{page.name}: {name} {shlex.join(arguments)}")


@pytest.mark.parametrize("page", [*PAGES, FORM], ids=lambda path: path.name)
def test_commands_in_the_text_exist(page):
    for name, command in re.findall(r"`(chimed|chimed-train) ([a-z][a-z-]*)", prose(page.read_text())):
        assert command in subcommands(PARSERS[name]()), f"{name} {command}"


@page
def test_settings_are_understood(page, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for number, block in enumerate(blocks(page.read_text(), "yaml")):
        for named in re.findall(r"~/(\S+\.(?:npz|wav))", block):  # files of the reader's own
            (tmp_path / named).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / named).touch()
        file = tmp_path / f"{number}.yaml"
        file.write_text(block)
        settings.load(file)


def test_the_readme_links_every_page():
    linked = re.findall(r"\]\(((?:docs/)?[\w-]+\.md)\)", (ROOT / "README.md").read_text())
    assert {path.relative_to(ROOT).as_posix() for path in PAGES[1:]} <= set(linked)


def test_the_forms_on_github_link_files_that_exist():
    for form in [FORM, *(ROOT / ".github").glob("*.md")]:
        for path in re.findall(r"/blob/HEAD/([^)\s]+)\)", form.read_text()):
            assert (ROOT / path).is_file(), path
