"""`chimed-train review`: its options, and the screen."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any


def add_review(commands: Any) -> None:
    """Add the command to a parser's sub-commands (what `add_subparsers` gives)."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "review",
        help="sort the clips and near misses that the daemon kept, for `adapt` or `fit`",
        description="Plays and draws one clip after the other and asks whether it is the word. Writes DIR/positives, "
        "cut to the word, and DIR/negatives, the two seconds that were taken for it. Quit at any time: the same "
        "command goes on.",
        epilog="example:\n  chimed-train review ~/chimed-clips -o sorted",
    )
    parser.add_argument(
        "clips", type=Path, metavar="CLIPS_DIR", help="the folder that `clips:` in the configuration names"
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="where the recordings go")
    parser.add_argument("--word", help="only clips of this word (needed where the daemon hears several)")
    parser.add_argument("--no-play", action="store_true", help="do not play each clip by itself; p and a still do")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> None:
    """Ask about each clip. Raises TrainingError."""
    from training.recording.audio_device import play
    from training.recording.keyboard import keyboard
    from training.recording.review import Review, ReviewAnswers, find
    from training.recording.terminal_view import TerminalScreen
    from training.utils.errors import TrainingError

    clips = find(arguments.clips, arguments.word)
    several = sorted({str(clip.about["word"]) for clip in clips if "word" in clip.about})
    if len(several) > 1:
        raise TrainingError(
            f"{arguments.clips} holds clips of {', '.join(map(repr, several))}: choose one with --word, and an output "
            "folder for each"
        )
    screen, answers = TerminalScreen(), ReviewAnswers(arguments.output)
    width = max(20, min(100, shutil.get_terminal_size().columns - 10))
    with keyboard() as keys:
        Review(answers, keys, screen.say, play, width, by_itself=not arguments.no_play).run(clips)
    left = sum(not answers.has(clip) for clip in clips)
    screen.say(
        f"\n{answers.count('y')} are the word, {answers.count('n')} are not, {left} have no answer; "
        f"they are in {arguments.output}"
    )
