"""Clips that the daemon kept and a person's answers in, recordings of the word and hard negatives out.

A clip ends where the daemon decided, or goes on a little (the JSON file beside it says where, as `clip_sample`), so
the word, or what was taken for it, stands near its end. The JSON file also says of what word it is. Answers are
written down one by one: a session can end at any time and go on later, and the clips themselves stay as they are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile

from model.frontend import SAMPLE_RATE
from training.corpora.corpus import read
from training.dsp import endpointing
from training.dsp.decode import Int16Array
from training.dsp.endpointing import Stretch
from training.recording.keyboard import END, Keys
from training.recording.terminal_view import picture
from training.utils.atomic_write import atomic_write
from training.utils.errors import TrainingError

REVIEW_MANIFEST = "review.jsonl"
LONGEST_WORD = 1.6  # s; of a clip in which somebody talks on and on, so much before its end
NEGATIVE_SECONDS = 2.0  # what made it fire, and a little of what came before
NUDGE = round(0.05 * SAMPLE_RATE)
SHORTEST = round(0.15 * SAMPLE_RATE)
REVIEW_KEYS = (
    "y: it is the word   n: it is not   s: skip   u: undo   p: play what would be kept   a: play all\n"
    "b B: begin earlier, later   e E: end earlier, later   q: quit"
)
REVIEW_FOLDERS = {"y": "positives", "n": "negatives"}


@dataclass(frozen=True)
class ReviewedClip:
    """A recording that the daemon kept. about: what its JSON file says."""

    path: Path
    about: dict[str, Any]

    def decided(self, length: int) -> int:
        """At which of so many samples the daemon decided: at the last, unless its JSON file says otherwise."""
        sample = self.about.get("clip_sample")
        return sample if isinstance(sample, int) and 0 < sample < length else length

    def title(self) -> str:
        """What is known of it, in one line."""
        about = self.about
        score = about.get("score")
        parts = [
            f"{about.get('kind', 'heard')} {about.get('word', '')!r}",
            f"score {score:.2f}" if isinstance(score, (int, float)) else "",
            str(about.get("time", "")),
            str(about.get("device", "")),
        ]
        line = ", ".join(part for part in parts if part)
        # a name from a file must not steer the terminal
        return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line)


def find(folder: Path, word: str | None = None) -> list[ReviewedClip]:
    """The clips of a folder, oldest first; of one word, if it is given. Raises TrainingError if there is none."""
    if not folder.is_dir():
        raise TrainingError(f"{folder}: no such folder")
    clips = []
    for path in sorted(folder.glob("*.wav")):
        about: Any = {}
        described = path.with_suffix(".json")
        if described.exists():
            try:
                about = json.loads(described.read_text())
            except (ValueError, OSError):
                about = {}
        about = about if isinstance(about, dict) else {}
        if word is None or about.get("word", word) == word:
            clips.append(ReviewedClip(path, about))
    if not clips:
        raise TrainingError(f"{folder}: no clips in it" + (f" of {word!r}" if word else ""))
    return clips


def cuts(samples: Int16Array, decided: int) -> dict[str, Stretch]:
    """What would be kept of a clip as the word (y), and as what is not the word (n). decided: see `ReviewedClip`."""

    def before(seconds: float) -> Stretch:
        return Stretch(max(0, decided - round(seconds * SAMPLE_RATE)), decided)

    return {
        "y": endpointing.last_word(samples, LONGEST_WORD, decided) or before(LONGEST_WORD),
        "n": before(NEGATIVE_SECONDS),
    }


class ReviewAnswers:
    """What was answered so far, on disk: the recordings and a manifest with one line an answer."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._entries: list[dict[str, Any]] = []
        manifest = path / REVIEW_MANIFEST
        if manifest.exists():
            for number, line in enumerate(manifest.read_text().splitlines(), 1):
                try:
                    entry = json.loads(line)
                    known = {"clip": str(entry["clip"]), "answer": str(entry["answer"]), "file": str(entry["file"])}
                except (ValueError, KeyError, TypeError):
                    raise TrainingError(f"{manifest}, line {number}: not an entry of a manifest") from None
                self._entries.append(entry | known)

    def has(self, clip: ReviewedClip) -> bool:
        """Whether it was answered."""
        return any(entry["clip"] == clip.path.name for entry in self._entries)

    def count(self, answer: str) -> int:
        """How many answers of this kind there are."""
        return sum(entry["answer"] == answer for entry in self._entries)

    def add(self, clip: ReviewedClip, answer: str, samples: Int16Array, cut: Stretch) -> Path:
        """Write what is kept of the clip, and the answer."""
        name = f"{REVIEW_FOLDERS[answer]}/{clip.path.stem}.flac"
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as partial:
            soundfile.write(partial, cut.of(samples), SAMPLE_RATE, format="FLAC", subtype="PCM_16")
        cut_seconds = [round(cut.start / SAMPLE_RATE, 3), round(cut.end / SAMPLE_RATE, 3)]
        entry = {"clip": clip.path.name, "answer": answer, "file": name, "cut": cut_seconds}
        self._entries.append(entry | {key: clip.about[key] for key in ("word", "score", "time") if key in clip.about})
        self._store()
        return path

    def undo(self, clip: ReviewedClip) -> None:
        """Take the answer of a clip back, and what was written for it."""
        for entry in [entry for entry in self._entries if entry["clip"] == clip.path.name]:
            (self.path / f"{REVIEW_FOLDERS.get(entry['answer'], 'positives')}/{clip.path.stem}.flac").unlink(
                missing_ok=True
            )
            self._entries.remove(entry)
        self._store()

    def _store(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in self._entries)
        with atomic_write(self.path / REVIEW_MANIFEST) as partial:
            partial.write_text(text)


class Review:
    """One sitting. say: shows some lines; play: plays samples, or raises TrainingError.

    width: of the pictures; by_itself: whether each clip is played without being asked for.
    """

    def __init__(
        self,
        answers: ReviewAnswers,
        keys: Keys,
        say: Callable[[str], None],
        play: Callable[[Int16Array], None],
        width: int,
        by_itself: bool = True,
    ) -> None:
        self._answers, self._keys, self._say, self._play = answers, keys, say, play
        self._width, self._by_itself = width, by_itself
        self._silent = False  # there is no loudspeaker

    def run(self, clips: Sequence[ReviewedClip]) -> None:
        """Ask about every clip that has no answer yet, until all have one or the person quits."""
        todo = [clip for clip in clips if not self._answers.has(clip)]
        if len(todo) < len(clips):
            self._say(f"{len(clips) - len(todo)} of {len(clips)} clips have an answer already.")
        self._say(REVIEW_KEYS)
        number = 0
        while number < len(todo):
            clip = todo[number]
            self._say(f"\n{number + 1} of {len(todo)}: {clip.title()}")
            try:
                samples = read(clip.path)
            except TrainingError as error:
                self._say(f"! {clip.path.name}: {error}")
                number += 1
                continue
            answer = self._ask(clip, samples)
            if answer == "q":
                return
            if answer == "u":
                if number == 0:
                    self._say("There is nothing to undo.")
                    continue
                number -= 1
                self._answers.undo(todo[number])
                continue
            number += 1

    def _ask(self, clip: ReviewedClip, samples: Int16Array) -> str:
        chosen = cuts(samples, clip.decided(len(samples)))
        said = chosen["y"]
        self._say(picture(samples, self._width, (said.start, said.end)))
        if len(samples) - said.end < round(endpointing.AFTER_SECONDS * SAMPLE_RATE):
            self._say("It ends before it is quiet: the word may be cut off, and teaches little then. s skips it.")
        if self._by_itself and not self._silent:
            self._sound(samples)
        while True:
            key = self._keys.get()
            if key in (END, "q", "s", "u"):
                return key or "q"
            if key in ("p", "a"):
                self._sound(said.of(samples) if key == "p" else samples)
            elif key in ("b", "B", "e", "E"):
                said = nudged(said, key, len(samples))
                self._say(picture(samples, self._width, (said.start, said.end)))
            elif key in ("y", "n"):
                path = self._answers.add(clip, key, samples, said if key == "y" else chosen["n"])
                self._say(f"{'the word' if key == 'y' else 'not the word'}: {path}")
                return key

    def _sound(self, samples: Int16Array) -> None:
        try:
            self._play(samples)
        except TrainingError as error:
            if not self._silent:
                self._say(f"! {error}; there is still the picture")
            self._silent = True


def nudged(cut: Stretch, key: str, length: int) -> Stretch:
    """The cut with its beginning (b earlier, B later) or end (e earlier, E later) moved by 50 ms."""
    step = NUDGE if key.isupper() else -NUDGE
    if key.lower() == "b":
        return Stretch(min(max(0, cut.start + step), max(0, cut.end - SHORTEST)), cut.end)
    return Stretch(cut.start, max(min(length, cut.end + step), min(length, cut.start + SHORTEST)))
