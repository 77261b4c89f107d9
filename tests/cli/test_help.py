"""Each `--help` says what every option is for and ends with examples, which the parser itself accepts."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterator

import pytest

from tests.docs.test_docs import PARSERS, calls


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """This parser and those of its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from parsers(command)


EVERY = [each for make in PARSERS.values() for each in parsers(make())]
COMMANDS = [each for each in EVERY if " " in each.prog]


def test_all_commands_are_looked_at():
    """A guard for the other tests, which hold for an empty list too."""
    names = {each.prog for each in EVERY}
    assert {"chimed", "chimed run", "chimed wyoming", "chimed-train", "chimed-train fit", "chimed-train word"} <= names


@pytest.mark.parametrize("parser", EVERY, ids=lambda each: each.prog)
def test_it_says_what_it_does_and_what_each_option_is_for(parser):
    assert parser.description
    unexplained = [action.option_strings or action.dest for action in parser._actions if not action.help]
    # the list of commands explains each of them
    assert unexplained in ([], ["command"], [argparse.SUPPRESS])


@pytest.mark.parametrize("command", COMMANDS, ids=lambda each: each.prog)
def test_it_has_an_example_that_works_as_it_stands(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")  # examples are not wrapped, however narrow the terminal
    _, examples = re.split(r"^examples?:$", command.format_help(), flags=re.MULTILINE)
    own = [call for call in calls(textwrap.dedent(examples)) if f"{call[0]} {call[1]}" == command.prog]
    assert len(own) == sum(command.prog in line for line in examples.splitlines()) > 0
    for name, *arguments in own:
        PARSERS[name]().parse_args(arguments)
