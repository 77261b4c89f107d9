"""The man pages: commands, options and examples come from the parsers, what the parsers do not know stands here."""

from __future__ import annotations

import argparse
import os
import re
import textwrap
import time
from collections.abc import Iterator

FILES = {
    "~/.config/chimed/config.yaml": "The configuration, if there is one. Every key is optional.",
    "/etc/chimed/config.yaml": "The same where the user has none, and that of the system's service.",
    "$XDG_RUNTIME_DIR/chimed/control.sock": "Where status, watch, mute and their like reach the running chimed.",
    "~/.config/systemd/user/chimed.service": "What chimed service install writes.",
}
ENVIRONMENT = {
    "CHIMED_WORD, CHIMED_SCORE, CHIMED_TIME, CHIMED_DEVICE, CHIMED_CLIP": "What a hook finds: the word that was heard, "
    "how sure the network was (0 to 1), when, what heard it, and the recording of it, if clips are kept.",
    "PULSE_SOURCE": "The microphone, by the name that the sound server has for it.",
    "OPENBLAS_NUM_THREADS, OMP_NUM_THREADS, MKL_NUM_THREADS": "Threads of the matrix library. One, as chimed has it "
    "where they are not set, is the fastest.",
}
SIGNALS = {
    "SIGTERM, SIGINT": "End: within two seconds, with what its hooks started.",
    "SIGHUP": "Read the configuration again; no audio is lost. One that cannot be used is refused.",
}
STATUS = {
    "0": "Stopped by a signal, or the recording ended.",
    "1": "No sound library, no such microphone, a recording that cannot be read, no running chimed.",
    "2": "Wrong options.",
    "3": "From chimed service status: it does not run.",
    "78": "Wrong configuration, or a model that cannot be used.",
    "130": "Interrupted from the keyboard.",
}
TRAIN_STATUS = {
    "0": "All is done.",
    "1": "It cannot be done; one sentence says why.",
    "2": "Wrong options.",
    "130": "Interrupted from the keyboard; the same command goes on.",
}
TRAIN_ENVIRONMENT = {
    "KOKORO": "A folder with Kokoro's model and voices.",
    "PIPER_VOICES": "A folder of voices for Piper.",
    "TF_CPP_MIN_LOG_LEVEL": "What TensorFlow says beside the progress: 0, all, to 3, nothing.",
}
DETAILS: dict[str, dict[str, dict[str, str]]] = {
    "chimed": {"files": FILES, "environment": ENVIRONMENT, "signals": SIGNALS, "exit status": STATUS},
    "chimed-train": {"environment": TRAIN_ENVIRONMENT, "exit status": TRAIN_STATUS},
}
SUMMARY = {"chimed": "wake-word daemon", "chimed-train": "train a wake word, offline"}
SEE_ALSO = {"chimed": "chimed-train systemctl journalctl", "chimed-train": "chimed"}


def page(parser: argparse.ArgumentParser, version: str) -> str:
    """The man page of a program, in man(7)'s language."""
    name = parser.prog
    date = time.strftime("%Y-%m-%d", time.gmtime(int(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))
    lines = [f'.TH {name.upper()} 1 {date} "chimed {version}" "User Commands"', ".SH NAME"]
    lines += [f"{escape(name)} \\- {escape(SUMMARY[name])}"]
    lines += [
        ".SH SYNOPSIS",
        f".B {escape(name)}",
        ".I COMMAND",
        "[\\fIOPTION\\fR]...",
        ".SH DESCRIPTION",
        *prose(parser.description or ""),
        ".PP",
    ]
    own = [action for action in parser._actions if not isinstance(action, argparse._SubParsersAction)]
    lines += [f"Each command has a {bold('--help')} of its own.", *options(parser, own)]
    lines += [".SH COMMANDS"]
    for command in commands(parser):
        lines += [f".SS {escape(command.prog.removeprefix(name + ' '))}", *described(command)]
    for title, entries in DETAILS[name].items():
        lines.append(f".SH {title.upper()}")
        for term, text in entries.items():
            lines += [".TP", bold(term), *prose(text)]
    others = [f".BR {escape(other)} (1)" for other in SEE_ALSO[name].split()]
    lines += [".SH SEE ALSO", *(f"{other} ," for other in others[:-1]), others[-1]]
    return "\n".join(lines) + "\n"


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parsers of the commands."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()


def described(command: argparse.ArgumentParser) -> Iterator[str]:
    """What a command does, its options, and its examples."""
    usage = re.sub(r"^usage: ", "", " ".join(command.format_usage().split()))
    yield from (".nh", ".ad l", *prose(usage), ".ad b", ".hy", ".PP", *prose(command.description or ""))
    yield from options(command, [action for action in command._actions if action.dest != "help"])
    examples = [line for line in (command.epilog or "").splitlines() if line.startswith("  ")]
    yield from (".PP", "For example:", ".PP", ".nf", ".RS 4", *(escape(line[2:]) for line in examples), ".RE", ".fi")


def options(parser: argparse.ArgumentParser, actions: list[argparse.Action]) -> Iterator[str]:
    """Each option and argument with what it is for."""
    formatter = parser._get_formatter()
    for action in actions:
        value = formatter._format_args(action, formatter._get_default_metavar_for_optional(action))
        if not action.option_strings:
            term = f"\\fI{escape(action.metavar if isinstance(action.metavar, str) else action.dest)}\\fR"
        else:
            names = ", ".join(map(bold, action.option_strings))
            term = names if action.nargs == 0 else f"{names} \\fI{escape(value)}\\fR"
        yield from (".TP", term, *prose(formatter._expand_help(action)))


def prose(text: str) -> list[str]:
    """A paragraph's lines, short enough for roff's taste."""
    lines = textwrap.wrap(text, 64, break_long_words=False, break_on_hyphens=False)
    return [escape(line) for line in lines]


def bold(text: str) -> str:
    """The text in bold."""
    return f"\\fB{escape(text)}\\fR"


def escape(text: str) -> str:
    """The text as it is, whatever it means to roff. A hyphen is a minus, so that options can be copied."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("~", "\\(ti").replace("^", "\\(ha")
    text = text.replace("`", "\\(ga").replace("'", "\\(aq").replace("…", "...").replace("“", '"').replace("”", '"')
    return f"\\&{text}" if text.startswith((".", "'")) else text
