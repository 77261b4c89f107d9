"""A word in, what to say and how out, for one voice; a take in, what is kept of it and what is wrong with it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from model.frontend import FULL_SCALE, SAMPLE_RATE
from training.corpora.exclude_word import says_word
from training.dsp import endpointing
from training.dsp.decode import Int16Array, active_level

Kind = Literal["positives", "negatives", "backgrounds"]

WORD_SECONDS = 5.0  # a take of the word ends by itself after so long at the latest
SPEECH_SECONDS = 8.0  # of other speech: below the 10 s of a training example
ROOM_SECONDS = 12.0  # of the room: above them
TAKE_PAUSE_SECONDS = 0.8  # of quiet after the word: it is over
LONGEST_WORD, SHORTEST_WORD = 2.5, 0.2  # seconds
LEAST_DBFS = -45.0  # of speech
CLIPPED_RUN = 3  # samples in a row at full scale
LEAST_SECONDS_BEFORE_END = 1.0  # s of a recording from which the level of the room is taken

MANNERS = (
    ("normally", "as you would say it to somebody beside you"),
    ("far", "from the other end of the room"),
    ("fast", "quickly, as in a hurry"),
    ("slow", "slowly and clearly"),
    ("quiet", "softly, as when somebody sleeps next door"),
    ("aside", "with your face turned away from the microphone"),
    ("near", "close to the microphone"),
    ("loud", "loudly, as over music"),
)
SENTENCES = (
    "The kettle is on, and the bread comes out of the oven in a quarter of an hour.",
    "Could you call me back after lunch, when the children are at school?",
    "We activated the old account on Thursday, but nobody has been active since.",
    "Turn left at the second traffic light and park behind the library.",
    "My sister wrote that the captain never answered her third letter.",
    "What are you doing this evening? I might cook something with rice.",
    "Seven, twelve, thirty-one, four hundred and eighty, nineteen ninety-five.",
)
SPARE_SENTENCES = (  # for those that say the word
    "The dog barked at a stranger, so we went for a walk along the river instead.",
    "Please put two pounds of apples and a fresh loaf on the shopping list.",
    "It rained through most of July, and both bicycles are still covered in mud.",
    "Nobody knows whose umbrella this is, although it hung here all winter.",
    "Grandfather keeps his old maps in a wooden box below the window.",
    "If you see Margaret, tell her that the train leaves twenty minutes early.",
    "He painted the garden fence green, which took him until Sunday evening.",
)
READ = "Read aloud: "
ROOMS = (
    "the room as it is, while nobody speaks",
    "the room with something on that is often on: a fan, the radio, running water, the street",
)


@dataclass(frozen=True)
class Prompt:
    """One thing to record. name: of the file, without its ending; ask: what to do, as a sentence."""

    kind: Kind
    name: str
    ask: str

    @property
    def limit(self) -> float:
        """Seconds after which a take ends by itself."""
        return {"positives": WORD_SECONDS, "negatives": SPEECH_SECONDS, "backgrounds": ROOM_SECONDS}[self.kind]


def text_of(ask: str) -> str:
    """What is read aloud by whoever is asked for this; nothing where that is not known."""
    # older manifests have that one was to read even this
    return ask.removeprefix(READ) if ask.startswith(READ) and "Talk about anything" not in ask else ""


def other_speech(word: str) -> list[str]:
    """What is asked for as other speech, in order: sentences without the word, and to talk.

    A spare sentence takes the place of one that says the word, so that the numbers of the others stay.
    """
    talk = f'Talk about anything for eight seconds, without "{word}", in your own language if it is not English.'
    spare = (READ + sentence for sentence in SPARE_SENTENCES if not says_word(sentence, word))
    return [next(spare, talk) if says_word(sentence, word) else READ + sentence for sentence in SENTENCES] + [talk]


def prompts(word: str, words: int, speech: int, rooms: int) -> list[Prompt]:
    """What to record, in order: the word so many times, so many pieces of other speech and of the room."""
    asked = []
    for number in range(words):
        manner, how = MANNERS[number % len(MANNERS)]
        asked.append(Prompt("positives", f"{number + 1:02d}-{manner}", f'Say "{word}" {how}.'))
    others = other_speech(word)
    asked += [Prompt("negatives", f"speech-{number + 1:02d}", others[number % len(others)]) for number in range(speech)]
    places = (ROOMS[number % len(ROOMS)] for number in range(rooms))
    return asked + [
        Prompt("backgrounds", f"room-{number:02d}", f"Record {place}.") for number, place in enumerate(places, 1)
    ]


@dataclass(frozen=True)
class Take:
    """A recording and what is wrong with it. level: of its loud parts in dBFS; wrong: sentences, the worst first."""

    samples: Int16Array
    level: float
    wrong: tuple[str, ...] = ()
    heard: bool = True  # whether there is anything worth keeping

    @property
    def seconds(self) -> float:
        """How long it is."""
        return len(self.samples) / SAMPLE_RATE


def judge(kind: Kind, samples: Int16Array) -> Take:
    """Trim a take of the word to the word, and say what is wrong with it, be it the word, speech or the room."""
    if not len(samples) or not np.any(samples):
        return Take(samples, -100.0, ("Nothing came from the microphone: is it muted?",), heard=False)
    kept, wrong = samples, []
    spoken = endpointing.speech_stretches(samples)
    if kind == "positives":
        place = endpointing.find_word(samples)
        if place is None:
            return Take(samples, active_level(samples), ("Nothing was heard that stands out from the room.",), False)
        kept = place.of(samples)
        if place.end >= len(samples) - round(0.05 * SAMPLE_RATE):
            wrong.append("The end may be cut off: it was not quiet again.")
        elif place.seconds > LONGEST_WORD:
            wrong.append(f"That is {place.seconds:.1f} s of speech, long for a single word.")
        elif place.seconds < SHORTEST_WORD:
            wrong.append(f"That is {place.seconds:.2f} s, too short for a word.")
        if len(spoken) > 1:
            wrong.append("More than one sound was heard; the strongest was taken.")
    elif kind == "negatives" and not spoken:
        return Take(samples, active_level(samples), ("Nothing was heard that stands out from the room.",), False)
    elif (
        kind == "backgrounds"
        and np.max(endpointing.loudness(samples)) - endpointing.room_dbfs(endpointing.loudness(samples))
        > 2.5 * endpointing.LEAST_SNR_DB
    ):
        wrong.append("Something much louder than the room was heard; was it speech?")
    level = active_level(kept)
    if clipped(kept):
        wrong.insert(0, "It is clipped: move away from the microphone, or lower its gain.")
    elif kind != "backgrounds" and level < LEAST_DBFS:
        wrong.insert(0, f"It is very quiet ({level:.0f} dBFS): raise the microphone's gain, or come nearer.")
    return Take(kept, level, tuple(wrong))


def clipped(samples: Int16Array) -> bool:
    """Whether three samples in a row stand at full scale."""
    at_limit = np.abs(samples.astype(np.int32)) >= FULL_SCALE - 2
    runs = np.convolve(at_limit, np.ones(CLIPPED_RUN, int), "valid") if len(samples) >= CLIPPED_RUN else np.zeros(1)
    return bool(np.any(runs == CLIPPED_RUN))


class TakeEnd:
    """Follows a take of the word, block by block, and tells when it is over: speech was heard, then quiet."""

    def __init__(self) -> None:
        self._blocks: list[Int16Array] = []

    def push(self, block: Int16Array) -> bool:
        """Whether the take can end here."""
        self._blocks.append(block)
        samples = self.samples
        if len(samples) < LEAST_SECONDS_BEFORE_END * SAMPLE_RATE:
            return False
        found = endpointing.speech_stretches(samples)
        return bool(found) and len(samples) - found[-1].end > TAKE_PAUSE_SECONDS * SAMPLE_RATE

    @property
    def samples(self) -> Int16Array:
        """All so far."""
        return np.concatenate(self._blocks) if self._blocks else np.empty(0, np.int16)


def meter(block: Int16Array, width: int = 40) -> str:
    """A bar from -60 to 0 dBFS for the peak of a block, and its value."""
    peak = int(np.max(np.abs(block.astype(np.int32)), initial=0))
    db = 20 * np.log10(max(peak, 1) / FULL_SCALE)
    eighths = round(max(0.0, 1 + db / 60) * width * 8)
    full, rest = divmod(min(eighths, width * 8), 8)
    bar = "█" * full + (" ▏▎▍▌▋▊▉"[rest] if rest else "")
    warning = " too loud" if db > -1 else ""
    return f"{bar:<{width}} {db:4.0f} dBFS{warning}"
