"""Transcribed speech of many people in, a word that none of them said out: clips joined from each one's own phones.

Writes, below the output folder:
- `positives-stitched/FOLDER/SPEAKER/NN.flac`: the clips, best first. FOLDER and SPEAKER are those of the speech, so
  that `corpus` puts a speaker's clips into the same split as the speaker's speech. Name the folders
  `positives-stitched/*` as positives, not their parent;
- `manifest.jsonl`: how each clip came to be;
- `report/`: a picture and samples of the best and the worst;
- `speakers/`: what is done, for the next call.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
from tqdm import tqdm

from model.frontend import SAMPLE_RATE
from training.align import Speaker, align_all, in_processes, new_decoder, pronunciations
from training.choose import Chain, Chooser, Place
from training.corpus import SPLITS, split_of
from training.errors import TrainingError
from training.hearing import Listener, rivals
from training.progress import bar
from training.prosody import Prosody, prosody
from training.sound import Sound, load
from training.splice import Clip, splice
from training.units import STOPS, Habits, halves, opens
from training.whole import whole

CLIPS = "positives-stitched"
MANIFEST = "manifest.jsonl"
PHONE_SECONDS = (0.06, 0.17)  # a phone takes between these on average, or the word is too fast or too slow
MOST_SCORE = 6.6  # cost per phone
MOST_JOIN = 4.5  # cost of the worst join
PACES = (0.95, 1.35)  # how much slower than the voices of this machine, from clip to clip
GOLDEN = (5**0.5 - 1) / 2
TRIES = 5  # ways looked at for each clip that is wanted
UNHEARD = "PocketSphinx did not hear the word"
_VERSION = 6  # of what `speakers/` holds


@dataclass(frozen=True)
class Order:
    """What is to be built, the same for every speaker.

    ways: to pronounce it; wishes: how each should sound; others: words that it is not; variants: clips of one
    speaker, at most.
    """

    phrase: str
    ways: tuple[tuple[str, ...], ...]
    wishes: tuple[Prosody, ...]
    others: tuple[str, ...]
    variants: int
    habits: Habits
    output: Path


@dataclass(frozen=True)
class Outcome:
    """clips: entries of the manifest; attempts: what became of each that was tried, empty if it was kept."""

    clips: list[dict[str, Any]]
    attempts: list[str]

    def summary(self) -> str:
        """How many voices and clips there are, and what was rejected."""
        voices = Counter(entry["speaker"] for entry in self.clips)
        lines = [f"{len(self.clips)} clips of {len(voices)} voices, from {len(self.attempts)} attempts"]
        by_split = Counter(split_of(group) for group in voices)
        lines.append("voices: " + ", ".join(f"{by_split[name]} {name}" for name, _ in SPLITS))
        unheard = self.attempts.count(UNHEARD)
        share = len(self.clips) / (len(self.clips) + unheard) if self.clips else 0.0
        lines.append(f"PocketSphinx hears the word in {share:.0%} of those that are otherwise good enough")
        for reason, count in Counter(filter(None, self.attempts)).most_common():
            lines.append(f"rejected: {count} times {reason}")
        return "\n".join(lines)


def stitch(phrase: str, folders: Sequence[Path], output: Path, work: Path, variants: int, jobs: int) -> Outcome:
    """Build a phrase from every speaker of the folders.

    work: keeps the alignments, so that the next word costs little. Raises TrainingError if PocketSphinx is
    missing or does not know the phrase, the folders hold no transcribed speech, or nothing came of it.
    """
    ways = tuple(pronunciations(phrase, new_decoder()))
    speakers = align_all(folders, work / "alignments", jobs)
    habits = Habits(speakers)
    wishes = tuple(prosody(phrase, ways, habits))
    order = Order(phrase, ways, wishes, tuple(rivals(phrase)), variants, habits, output)
    tasks = [(order, speaker) for speaker in speakers]
    results = in_processes(_stitch_speaker, tasks, jobs)
    outcome = Outcome([], [])
    for result in bar(results, "stitch", "speaker", len(tasks), part=None):
        outcome.clips.extend(result.clips)
        outcome.attempts.extend(result.attempts)
    for path in sorted((output / CLIPS).rglob("*"), reverse=True):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()  # a speaker of whom nothing came, or a folder of such: no positives
    left_out = Counter[str]()
    for speaker in speakers:
        left_out.update(speaker.left_out)
    for reason, count in left_out.most_common(5):
        tqdm.write(f"{count} recordings left out: {reason}")
    if not outcome.clips:
        reason = Counter(outcome.attempts).most_common(1)[0][0] if outcome.attempts else "no recording could be aligned"
        raise TrainingError(f"no clip of {phrase!r} came of {len(speakers)} speakers: {reason}")
    with whole(output / MANIFEST) as partial:
        partial.write_text("".join(json.dumps(entry) + "\n" for entry in outcome.clips))
    return outcome


def _stitch_speaker(task: tuple[Order, Speaker]) -> Outcome:
    order, speaker = task
    stamp = repr((_VERSION, order.phrase, order.ways, order.wishes, order.variants, speaker))
    key = hashlib.sha256(stamp.encode()).hexdigest()[:12]
    done = order.output / "speakers" / f"{speaker.group.replace('/', '-')}-{key}.json"
    if done.exists():
        content = json.loads(done.read_text())
        return Outcome(content["clips"], content["attempts"])
    folder = order.output / CLIPS / speaker.group
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("[0-9][0-9].flac"):
        stale.unlink()
    outcome = stitch_speaker(order, speaker, folder)
    done.parent.mkdir(parents=True, exist_ok=True)
    with whole(done) as partial:
        partial.write_text(json.dumps({"clips": outcome.clips, "attempts": outcome.attempts}))
    return outcome


def stitch_speaker(order: Order, speaker: Speaker, folder: Path) -> Outcome:
    """Write one speaker's clips into the folder as 00.flac, 01.flac ..., the cheapest first."""
    sounds = [load(utterance.path) for utterance in speaker.utterances]
    wanted = {phone for way in order.ways for phone in way} | {"AH", "IH"}
    units = halves(speaker.utterances, sounds, wanted)
    listener = Listener(order.phrase, list(order.others))
    attempts: list[str] = []
    found = []
    for way, wish in zip(order.ways, order.wishes, strict=True):
        chooser = Chooser(way, wish, units, sounds, order.habits)
        if chooser.lacking:
            attempts.append(f"a speaker who never said {chooser.lacking}")
        chains = enumerate(chooser.chains(TRIES * order.variants))
        found += [(chain.score, number, way, wish, chain) for number, chain in chains]
    clips: list[dict[str, Any]] = []
    for _, _, way, wish, chain in sorted(found, key=lambda entry: entry[:2]):
        if len(clips) == order.variants:
            break
        # the golden section spreads any number of them evenly
        pace = PACES[0] * (PACES[1] / PACES[0]) ** (len(attempts) * GOLDEN % 1)
        clip = splice(chain, sounds, wish.slower(pace))
        reason = _fault(chain, clip)
        heard = "" if reason else listener.hears(clip.samples)
        if not reason and heard != listener.phrase:
            reason = UNHEARD
        attempts.append(reason)
        if reason:
            continue
        name = folder / f"{len(clips):02d}.flac"
        soundfile.write(name, clip.samples, SAMPLE_RATE, subtype="PCM_16")
        entry = {"file": f"{speaker.group}/{name.name}", "speaker": speaker.group, "phrase": order.phrase}
        clips.append(
            entry
            | {"rank": len(clips), "attempt": len(attempts), "pace": round(pace, 3)}
            | _history(chain, clip, way, sounds)
        )
    return Outcome(clips, attempts)


def _fault(chain: Chain, clip: Clip) -> str:
    """Why a clip is not good enough; empty if it is."""
    seconds = len(clip.samples) / SAMPLE_RATE / chain.phones
    if not PHONE_SECONDS[0] <= seconds <= PHONE_SECONDS[1]:
        return "too fast" if seconds < PHONE_SECONDS[0] else "too slow"
    if max((join.cost for join in chain.joins.values()), default=0.0) > MOST_JOIN:
        return "a join is too rough"
    if chain.score > MOST_SCORE:
        return "its pieces fit too badly"
    if chain.units[-1].phone.name in STOPS and not opens(Sound(clip.samples)):
        return "the release of its last stop is not heard"
    return ""


def _history(chain: Chain, clip: Clip, way: Sequence[str], sounds: Sequence[Sound]) -> dict[str, Any]:
    """How a clip came to be, for the manifest; times in seconds."""
    joins = [
        {"at": round(cut / SAMPLE_RATE, 4), **vars(chain.joins[number])}
        for cut, number in zip(clip.cuts, sorted(chain.joins), strict=True)
    ]
    pieces = [
        {
            "source": sounds[piece.utterance].path,
            "start": round(piece.start / SAMPLE_RATE, 4),
            "end": round(piece.end / SAMPLE_RATE, 4),
            "phones": _spell_halves(way, chain.places[piece.first], chain.places[piece.last]),
        }
        for piece in clip.pieces
    ]
    return {
        "seconds": round(len(clip.samples) / SAMPLE_RATE, 3),
        "score": round(chain.score, 3),
        "pieces": pieces,
        "joins": joins,
    }


def _spell_halves(way: Sequence[str], first: Place, last: Place) -> str:
    """The phones from one half to another; a dot stands for the half that lies elsewhere."""
    names = list(way[first.phone : last.phone + 1])
    if first.side == 1:
        names[0] = f".{names[0]}"
    if last.side == 0:
        names[-1] = f"{names[-1]}."
    return " ".join(names)
