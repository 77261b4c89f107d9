"""A person at a microphone and a keyboard in, a folder of recordings out: prompt, take, judgement, the next prompt.

The folder has the `raw_data` layout (positives, negatives, backgrounds) and a manifest, one line a recording. What
the manifest lists is done, so that a session can end at any time and go on later. What was read aloud stands in
negatives/transcripts.txt, as `transcripts` reads it.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import soundfile

from model.frontend import SAMPLE_RATE
from training.corpora.exclude_word import says_word
from training.dsp.decode import Int16Array
from training.recording.keyboard import END, Keys
from training.recording.takes import Prompt, Take, TakeEnd, judge, meter, text_of
from training.utils.atomic_write import atomic_write
from training.utils.errors import TrainingError

RECORDING_MANIFEST = "recordings.jsonl"
TRANSCRIPTS = "transcripts.txt"
SETTLE_SECONDS = 0.15  # the key's own click
SESSION_KEYS = (
    "Enter records. While recording, Enter ends a take; else it ends by itself. q quits; all that was kept stays."
)


class BlockSource(Protocol):
    """What is recorded from."""

    name: str

    def forget(self) -> None:
        """Drop what was heard so far."""

    def block(self) -> Int16Array:
        """The next short block."""


class RecordingFolder:
    """Recordings of one word on disk, and of what is not the word, and the manifest beside them.

    Raises TrainingError for a manifest that is damaged, or that lists recordings of another word.
    """

    def __init__(self, path: Path, word: str) -> None:
        self.path, self.word = path, word
        self._done: dict[str, dict[str, Any]] = {}
        manifest = path / RECORDING_MANIFEST
        if manifest.exists():
            for number, line in enumerate(manifest.read_text().splitlines(), 1):
                try:
                    entry = json.loads(line)
                    self._done[str(entry["file"])] = entry
                except (ValueError, KeyError, TypeError):
                    raise TrainingError(f"{manifest}, line {number}: not an entry of a manifest") from None
        for name, entry in self._done.items():
            other = str(entry.get("word", word))
            if name.startswith("positives/") and (path / name).exists() and other.casefold() != word.casefold():
                raise TrainingError(f'{path}: it holds recordings of "{other}"; name another folder for "{word}"')

    def has(self, prompt: Prompt) -> bool:
        """Whether this was recorded already, and is still there; not if the word was read in what is not the word."""
        name = self.name(prompt)
        text = text_of(self._done.get(name, {}).get("ask", ""))
        return name in self._done and (self.path / name).exists() and not (text and says_word(text, self.word))

    @staticmethod
    def name(prompt: Prompt) -> str:
        """Of its file, below the folder."""
        return f"{prompt.kind}/{prompt.name}.flac"

    def keep(self, prompt: Prompt, take: Take, device: str) -> Path:
        """Write the recording, complete or not at all, the manifest and what was read."""
        name = self.name(prompt)
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as partial:
            soundfile.write(partial, take.samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
        self._done[name] = {
            "file": name,
            "word": self.word,
            "ask": prompt.ask,
            "seconds": round(take.seconds, 3),
            "dbfs": round(take.level, 1),
            "wrong": list(take.wrong),
            "device": device,
            "time": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        }
        if prompt.kind == "negatives":
            self._write_texts(path.parent / TRANSCRIPTS)
        # last: a recording that an interruption left without its text is asked for again
        text = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in self._done.values())
        with atomic_write(self.path / RECORDING_MANIFEST) as partial:
            partial.write_text(text)
        return path

    def _write_texts(self, path: Path) -> None:
        """What was read in each recording of the manifest; lines of recordings that are not in it stay."""
        texts = {
            Path(name).stem: text_of(entry.get("ask", ""))
            for name, entry in self._done.items()
            if name.startswith("negatives/")
        }
        # whatever its encoding, what somebody wrote there stays as it is
        before = path.read_text("utf-8", "surrogateescape").splitlines() if path.exists() else []
        lines = [line for line in before if line.partition("\t")[0] not in texts]
        lines += [f"{name}\t{text}" for name, text in texts.items() if text]
        with atomic_write(path) as partial:
            partial.write_text("".join(f"{line}\n" for line in lines), "utf-8", "surrogateescape")


class RecordingSession:
    """One sitting. say: shows a line; show: shows what the next such text replaces (the meter)."""

    def __init__(
        self,
        folder: RecordingFolder,
        source: BlockSource,
        keys: Keys,
        say: Callable[[str], None],
        show: Callable[[str], None],
        play: Callable[[Int16Array], None],
    ) -> None:
        self._folder, self._source, self._keys = folder, source, keys
        self._say, self._show, self._play = say, show, play

    def run(self, asked: Sequence[Prompt]) -> int:
        """Ask for all that is not there yet; returns how many were kept."""
        todo = [prompt for prompt in asked if not self._folder.has(prompt)]
        if len(todo) < len(asked):
            self._say(f"{len(asked) - len(todo)} of {len(asked)} recordings are in {self._folder.path} already.")
        self._say(SESSION_KEYS)
        kept = 0
        for prompt in todo:
            number = asked.index(prompt) + 1
            self._say(f"\n{number} of {len(asked)}. {prompt.ask}")
            answer = self._one(prompt)
            if answer == "quit":
                break
            kept += answer == "kept"
        return kept

    def _one(self, prompt: Prompt) -> str:
        while True:
            self._say("Enter: record   s: skip   q: quit")
            key = self._keys.choose("\nsq")
            if key in (END, "q"):
                return "quit"
            if key == "s":
                return "skipped"
            samples = self._record(prompt)
            take = judge(prompt.kind, samples)
            self._say(f"{take.seconds:.2f} s, {take.level:.0f} dBFS")
            for sentence in take.wrong:
                self._say(f"! {sentence}")
            answer = self._decide(take)
            if answer == "keep":
                path = self._folder.keep(prompt, take, self._source.name)
                self._say(f"kept: {path}")
                return "kept"
            if answer != "again":
                return answer

    def _decide(self, take: Take) -> str:
        # what is in order is kept with Enter; what is not is recorded again with it
        fine = take.heard and not take.wrong
        first, second = ("keep", "r: again") if fine else ("again", "k: keep it so" if take.heard else "")
        choices = [f"Enter: {first}", second, "p: play" if take.heard else "", "s: skip", "q: quit"]
        while True:
            self._say("   ".join(choice for choice in choices if choice))
            key = self._keys.choose("\nrsq" + ("kp" if take.heard else ""))
            if key == "p":
                try:
                    self._play(take.samples)
                except TrainingError as error:
                    self._say(f"! {error}")
                continue
            return {"\n": first, "k": "keep", "r": "again", "s": "skipped"}.get(key, "quit")

    def _record(self, prompt: Prompt) -> Int16Array:
        listening = TakeEnd()
        self._source.forget()
        limit, settled = round(prompt.limit * SAMPLE_RATE), round(SETTLE_SECONDS * SAMPLE_RATE)
        heard = 0
        while heard < limit + settled:
            block = self._source.block()
            heard += len(block)
            self._show(f"● {meter(block)}  {max(0.0, heard - settled) / SAMPLE_RATE:4.1f} of {prompt.limit:.0f} s")
            if heard <= settled:
                continue
            over = listening.push(block)
            if (over and prompt.kind == "positives") or self._keys.get(0) == "\n":
                break
        self._show("")
        return listening.samples[:limit]
