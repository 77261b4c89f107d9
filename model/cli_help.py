"""What the parsers of `chimed` and `chimed-train` share: how their help reads, and a walk through their options.

It stands here because neither program may import the other's package. The standard library alone: `--help` is instant.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator


class Help(argparse.HelpFormatter):
    """Wraps prose, and leaves what is indented as it is: examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        return "\n".join(line if line.startswith(" ") else fill(line, width, indent) for line in text.splitlines())


def finish(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Let each command's help begin with what the list of commands says of it, and end with examples."""
    for listed in commands._choices_actions:
        command = commands.choices[listed.dest]
        text = listed.help or ""
        command.description = command.description or f"{text[:1].upper()}{text[1:]}."
        command.formatter_class = Help


def actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every option and argument, those of the commands too."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from actions(below)
