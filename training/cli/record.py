"""`chimed-train record`: its options, and the screen."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from training.recording.takes import Prompt


def add_record(commands: Any) -> None:
    """Add the command to a parser's sub-commands (what `add_subparsers` gives)."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "record",
        help="record a word, other speech and the room, guided, for `adapt` or `fit`",
        description="Asks for one recording after the other, shows the level, trims the word and says what is wrong "
        "with a take. Writes DIR/positives, DIR/negatives and DIR/backgrounds. Quit at any time: the same command goes "
        "on.",
        epilog="example:\n  chimed-train record me --word activate",
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the recordings go")
    parser.add_argument("--word", default="activate", help="what is recorded (default: %(default)s)")
    parser.add_argument("--words", type=int, default=16, metavar="N", help="times the word (default: %(default)s)")
    parser.add_argument(
        "--speech", type=int, default=8, metavar="N", help="of other speech, 8 s (default: %(default)s)"
    )
    parser.add_argument("--rooms", type=int, default=2, metavar="N", help="of the room, 12 s (default: %(default)s)")
    parser.add_argument("--device", metavar="NAME", help="the microphone: a number or part of a name")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Record until all is there or the person quits. Raises TrainingError."""
    from training.recording.audio_device import RecordingMicrophone, play
    from training.recording.keyboard import keyboard
    from training.recording.session import RecordingFolder, RecordingSession
    from training.recording.takes import prompts
    from training.recording.terminal_view import TerminalScreen
    from training.utils.errors import TrainingError

    counts = (arguments.words, arguments.speech, arguments.rooms)
    if min(counts) < 0 or max(counts) > 99:
        raise TrainingError("--words, --speech and --rooms take a number from 0 to 99")
    asked = prompts(arguments.word, *counts)
    folder = RecordingFolder(arguments.folder, arguments.word)
    if all(folder.has(prompt) for prompt in asked):
        print(f"all {len(asked)} recordings are in {folder.path} already", file=sys.stderr)
        return
    screen = TerminalScreen()
    microphone = RecordingMicrophone(arguments.device)
    try:
        screen.say(f"Recording from {microphone.name}.")
        with keyboard() as keys:
            session = RecordingSession(folder, microphone, keys, screen.say, screen.show, play)
            kept = session.run(asked)
    finally:
        microphone.close()
    left = sum(not folder.has(prompt) for prompt in asked)
    screen.say(f"\n{kept} kept; " + (f"{left} are left: the same command goes on." if left else "all are there. Next:"))
    if not left:
        screen.say(f"  {next_command(arguments.folder, arguments.word, asked)}")


def next_command(folder: Path, word: str, asked: Sequence[Prompt]) -> str:
    """What makes a model of these recordings: from the one that ships, or, of another word, a new one."""
    from model.modelfile import shipped

    kinds = dict.fromkeys(prompt.kind for prompt in asked)
    folders = " ".join(f"--{kind} {shlex.quote(str(folder / kind))}" for kind in kinds)
    begin, end = ("adapt", " -o mine.npz") if word in shipped() else ("word", "")
    return f"chimed-train {begin} {shlex.quote(word)} {folders}{end}"
