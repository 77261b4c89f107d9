"""What a word is trained on: the recordings of the user, synthetic voices, and what is made where there is none.

Own recordings of the word, recordings without it and backgrounds take part as they are; each folder of the word weighs
as much as all the synthetic voices together.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from training.alignment.phone_targets import known_texts
from training.corpora import corpus
from training.corpora.corpus import Corpus
from training.corpora.exclude_word import exclude_word
from training.pipeline.options import TrainWordOptions
from training.scenes.fallback_material import speak_sentences, write_noise
from training.utils.resumable_steps import Result, ResumableSteps, stamp
from training.voices.engines import Voice, people
from training.voices.synthesize import VARIED, VARIED_OTHERS, speak_corpus

SPOKEN = ("synthetic-voices", "synthetic-others")  # positives and negatives; names that no user's folder has
LITTLE = 1 / 6  # h of real speech; with less, sentences by synthetic voices are added


class Recordings:
    """Folders of one kind, decoded once, and only when they are wanted."""

    def __init__(self, options: TrainWordOptions, kind: str, folders: Sequence[Path]) -> None:
        self._options = options
        self._kind = kind
        self.folders = tuple(folders)

    @cached_property
    def corpus(self) -> Corpus:
        """What can be used of them; of speech, what does not say the word."""
        found = corpus.load(self.folders, self._options.work / "cache", self._kind)
        if self._kind == "speech":
            found = exclude_word(found, known_texts([found], self._options.says), [self._options.phrase])
        return found

    @property
    def trained_hours(self) -> float:
        """How much of them is trained on; 0 without a folder."""
        return self.corpus.hours(self.corpus.split("train")) if self.folders else 0.0

    def beside(self, *folders: Path) -> Recordings:
        """These and more folders; nothing is loaded twice where there are no more."""
        return Recordings(self._options, self._kind, (*self.folders, *folders)) if folders else self


class WordMaterial:
    """The recordings by what they hold. notes: what a reader of the model's card should know of them."""

    def __init__(self, options: TrainWordOptions, spoken: dict[str, int], voices: Sequence[Voice]) -> None:
        speak = options.work / "speak"
        self._options = options
        self.positives = Recordings(options, "positives", (speak / SPOKEN[0], *options.positives))
        self.speech = Recordings(options, "speech", options.negatives)
        self.noise = Recordings(options, "noise", options.backgrounds)
        self._others: tuple[Path, ...] = (speak / SPOKEN[1],)
        engines = sorted({voice.engine for voice in voices})
        times, others = (spoken[name] for name in SPOKEN)
        self.notes = [
            f"{times} times {options.phrase!r} by {people(voices)} synthetic voices ({', '.join(engines)})",
            f"{others} other words, near misses and sentences by the same voices",
        ]

    def fill(self, steps: ResumableSteps, voices: Sequence[Voice], vocabulary: Sequence[str]) -> None:
        """Make what is lacking: sentences by synthetic voices, coloured noise."""
        options, made = self._options, self._options.work / "fill"
        lacks_speech = self.speech.trained_hours < LITTLE
        lacks_noise = self.noise.trained_hours == 0

        def fill(folder: Path) -> Result:
            if lacks_speech:
                count = max(options.size.negatives // 4, 40)
                speak_sentences(folder / "spoken-sentences", vocabulary, voices, count, options.seed)
            return {"noise": write_noise(folder / "coloured-noise", options.seed) if lacks_noise else 0}

        steps.run("fill", {"speech": lacks_speech, "noise": lacks_noise}, fill)
        if lacks_speech:
            some = bool(self.speech.folders)
            # beside thousands of sentences a handful of recordings would be lost, and so they count as much as all the
            # synthetic words together
            self._others += self.speech.folders
            self.notes.append(
                f"{'little' if some else 'no'} real speech: sentences by the same synthetic voices "
                f"{'beside it' if some else 'instead'}, so false accepts are guesswork"
            )
            self.speech = self.speech.beside(made / "spoken-sentences")
        if lacks_noise:
            some = bool(self.noise.folders)
            self.notes.append(
                f"{'few' if some else 'no'} noises of real places: coloured noise {'too' if some else 'instead'}"
            )
            self.noise = self.noise.beside(made / "coloured-noise")
        self.notes += [f"real recordings of the word: {folder.name}" for folder in options.positives]
        others = (*options.negatives, *options.backgrounds)
        self.notes += [f"real sound without the word: {folder.name}" for folder in others]

    def folders(self) -> dict[str, tuple[Path, ...]]:
        """By kind, as a training reads them."""
        return {
            "positives": self.positives.folders,
            "spoken": self._others,
            "speech": self.speech.folders,
            "noise": self.noise.folders,
        }


def speak_word(
    options: TrainWordOptions, steps: ResumableSteps, voices: Sequence[Voice], vocabulary: Sequence[str]
) -> dict[str, int]:
    """Let synthetic voices say the word and other things, in the step's folder; how many of each there are."""
    size = options.size
    settings = {
        "phrase": options.phrase,
        "positives": size.positives,
        "negatives": size.negatives,
        "seed": options.seed,
        "varied": [*VARIED, VARIED_OTHERS],
        "words": stamp([options.words] if options.words else []),
        "voices": [f"{voice.engine} {voice.name}" for voice in voices],
    }

    def speak(folder: Path) -> Result:
        speak_corpus(
            options.phrase,
            folder,
            size.positives,
            size.negatives,
            options.seed,
            voices,
            vocabulary,
            names=SPOKEN,
        )
        return {name: len(list((folder / name).glob("*.flac"))) for name in SPOKEN}

    return steps.run("speak", settings, speak)
