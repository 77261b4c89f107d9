"""A phrase in, recordings of it out: many synthetic voices saying one text, each at its own rate and pitch.

Every engine found on the machine takes part. Silence around the word is trimmed, so that a clip ends where
the word ends. Which voice said what stands in the manifest beside the clips.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from model.frontend import FloatArray
from training.errors import TrainingError
from training.phonetics import near_words, word_list

MANIFEST = "manifest.jsonl"
MIN_SECONDS, MAX_SECONDS = 0.15, 9.0
TRIM_DB = -40.0  # below the clip's loudest 10 ms: silence
TIMEOUT = 60  # s; an engine that takes longer hangs

_ESPEAK_ACCENTS = ("en-us", "en-us", "en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-029")
# robots, whispers, choirs and animals: nobody talks so
_ESPEAK_ODD = re.compile(r"whisper|robo|croak|klatt|zac|norbert|demonic|UniRobot|fast|sandro|Storm|Denis|ed2", re.I)


@dataclass(frozen=True)
class Voice:
    """One speaker of one engine."""

    engine: str
    name: str


@dataclass(frozen=True)
class Utterance:
    """What is to be said, by whom, how. rate: factor on the engine's normal one; pitch: -1 (low) to 1 (high)."""

    text: str
    voice: Voice
    rate: float
    pitch: float


def find_voices() -> list[Voice]:
    """Every voice of every engine on this machine. Raises TrainingError if there is no engine."""
    voices = [*_espeak_voices(), *_flite_voices(), *_festival_voices()]
    if not voices:
        raise TrainingError("no speech synthesiser found (Debian: apt install espeak-ng flite)")
    return voices


def _espeak_voices() -> Iterator[Voice]:
    if not shutil.which("espeak-ng"):
        return
    listing = subprocess.run(["espeak-ng", "--voices=variant"], capture_output=True, text=True, check=True).stdout
    variants = re.findall(r"!v/(\S+)", listing)
    for accent in dict.fromkeys(_ESPEAK_ACCENTS):
        for variant in variants:
            if not _ESPEAK_ODD.search(variant):
                yield Voice("espeak-ng", f"{accent}+{variant}")


def _flite_voices() -> Iterator[Voice]:
    if not shutil.which("flite"):
        return
    listing = subprocess.run(["flite", "-lv"], capture_output=True, text=True, check=True).stdout
    for name in listing.partition(":")[2].split():
        if name != "awb_time":  # it can only tell the time
            yield Voice("flite", name)


def _festival_voices() -> Iterator[Voice]:
    if not shutil.which("text2wave"):
        return
    for path in sorted(Path("/usr/share/festival/voices").glob("*/*")):
        yield Voice("festival", path.name)


def _espeak(utterance: Utterance, path: Path) -> list[str]:
    words_per_minute = round(165 * utterance.rate)
    pitch = round(50 + 40 * utterance.pitch)
    options = ["-v", utterance.voice.name, "-s", str(words_per_minute), "-p", str(pitch), "-w", str(path)]
    return ["espeak-ng", *options, "--", utterance.text]


_FLITE_PITCH = {"kal": 95, "kal16": 95, "awb": 120, "rms": 95, "slt": 175}  # Hz, each voice's own


def _flite(utterance: Utterance, path: Path) -> list[str]:
    pitch = _FLITE_PITCH.get(utterance.voice.name, 120) * 2 ** (0.35 * utterance.pitch)
    options = ["--setf", f"duration_stretch={1 / utterance.rate:.3f}", "--setf", f"int_f0_target_mean={pitch:.0f}"]
    return ["flite", "-voice", utterance.voice.name, *options, "-t", utterance.text, "-o", str(path)]


def _festival(utterance: Utterance, path: Path) -> list[str]:
    text = path.with_suffix(".txt")
    text.write_text(utterance.text)
    stretch = f"(Parameter.set 'Duration_Stretch {1 / utterance.rate:.3f})"
    return ["text2wave", "-eval", f"(voice_{utterance.voice.name})", "-eval", stretch, str(text), "-o", str(path)]


_COMMANDS: dict[str, Callable[[Utterance, Path], list[str]]] = {
    "espeak-ng": _espeak,
    "flite": _flite,
    "festival": _festival,
}


def trim(samples: FloatArray, rate: int) -> FloatArray:
    """Cut the silence before and after; the last 10 ms that are louder than -40 dB of the loudest stay."""
    hop = max(1, rate // 100)
    count = len(samples) // hop
    if count == 0:
        return samples[:0]
    power = np.mean(np.square(samples[: count * hop].reshape(count, hop)), axis=1)
    loud = np.flatnonzero(power > power.max() * 10 ** (TRIM_DB / 10))
    if power.max() == 0 or not len(loud):
        return samples[:0]
    return samples[loud[0] * hop : (loud[-1] + 1) * hop]


def speak(utterance: Utterance) -> tuple[FloatArray, int]:
    """Samples (-1 to 1, trimmed) and their rate in Hz. Raises TrainingError with the engine's own words."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        command = _COMMANDS[utterance.voice.engine](utterance, path)
        result = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        if result.returncode or not path.exists():
            reason = (result.stderr.strip().splitlines() or ["no sound"])[-1]
            raise TrainingError(f"{utterance.voice.engine} ({utterance.voice.name}) failed: {reason}")
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return trim(samples[:, 0], rate), rate


def draw(texts: Sequence[str], voices: Sequence[Voice], count: int, rng: np.random.Generator) -> list[Utterance]:
    """`count` utterances: a text, an engine, one of its voices, a rate and a pitch, each drawn at random.

    Engines with few but natural voices get more than their share of voices: half of all is espeak-ng's
    hundreds, the rest is shared by the others; festival, which is slow, says one in fifty.
    """
    by_engine: dict[str, list[Voice]] = {}
    for voice in voices:
        by_engine.setdefault(voice.engine, []).append(voice)
    share = {"espeak-ng": 0.5, "flite": 0.45, "festival": 0.02}
    engines = list(by_engine)
    weights = np.array([share[engine] for engine in engines])
    utterances = []
    for _ in range(count):
        engine = engines[rng.choice(len(engines), p=weights / weights.sum())]
        voice = by_engine[engine][rng.integers(len(by_engine[engine]))]
        rate = float(np.exp(rng.uniform(np.log(0.75), np.log(1.35))))
        text = texts[int(rng.integers(len(texts)))]
        utterances.append(Utterance(text, voice, round(rate, 3), round(float(rng.uniform(-1, 1)), 3)))
    return utterances


def speak_all(utterances: Sequence[Utterance], folder: Path, title: str) -> int:
    """Write each utterance as a FLAC file and the manifest; what is there already is kept. Returns how many failed.

    Files are numbered in the order given, so an interrupted run goes on where it stopped.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def one(item: tuple[int, Utterance]) -> str | None:
        number, utterance = item
        path = folder / f"{number:05d}.flac"
        if path.exists():
            return None
        try:
            samples, rate = speak(utterance)
        except (TrainingError, subprocess.TimeoutExpired) as error:
            return str(error)
        seconds = len(samples) / rate
        if not MIN_SECONDS <= seconds <= MAX_SECONDS:
            return f"{utterance.voice.name} took {seconds:.2f} s for {utterance.text!r}"
        partial = path.with_suffix(".part")
        soundfile.write(partial, samples, rate, format="FLAC", subtype="PCM_16")
        partial.replace(path)
        return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        failures = [
            failure
            for failure in tqdm(pool.map(one, enumerate(utterances)), total=len(utterances), desc=title, unit="clip")
            if failure
        ]
    with (folder / MANIFEST).open("w") as manifest:
        for number, utterance in enumerate(utterances):
            file = f"{number:05d}.flac"
            if (folder / file).exists():
                manifest.write(json.dumps({"file": file, **asdict(utterance)}) + "\n")
    for failure in failures[:5]:
        tqdm.write(f"left out: {failure}")
    return len(failures)


def sentences(words: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    """Word salads of 3 to 9 words: no grammar, but every transition between sounds."""
    return [" ".join(rng.choice(words, size=int(rng.integers(3, 10)))) for _ in range(count)]


def speak_corpus(phrase: str, folder: Path, positives: int, negatives: int, seed: int, words: Path | None) -> None:
    """The synthetic part of a training set: `folder`/positives and `folder`/negatives.

    One negative in four is a near miss, one in four a sentence, the rest are words; the same voices say them,
    or the network would learn "a synthetic voice" instead of the word.
    """
    rng = np.random.default_rng(seed)
    voices = find_voices()
    vocabulary = words.read_text().split() if words else word_list()
    tqdm.write(f"{len(voices)} voices; looking for words near {phrase!r} among {len(vocabulary)} (a minute)")
    near = near_words(phrase, vocabulary, 150)
    tqdm.write(f"near words: {', '.join(near[:20])} ...")
    quarter = negatives // 4
    spoken_words = list(rng.choice(vocabulary, size=negatives - 2 * quarter))
    utterances = [
        *draw(near, voices, quarter, rng),
        *draw(sentences(spoken_words, quarter, rng), voices, quarter, rng),
        *draw(spoken_words, voices, negatives - 2 * quarter, rng),
    ]
    failed = speak_all(draw([phrase], voices, positives, rng), folder / "positives", "positives")
    failed += speak_all(utterances, folder / "negatives", "negatives")
    if failed:
        tqdm.write(f"{failed} of {positives + negatives} utterances were left out")
