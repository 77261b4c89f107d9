"""A phrase in, recordings of it out: many synthetic voices saying one text, each at its own rate and pitch.

Every engine found on the machine takes part. Silence around the word is trimmed, so that a clip ends where
the word ends. Which voice said what stands in the manifest beside the clips.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from model.frontend import FloatArray
from training.utils.atomic_write import atomic_write
from training.utils.errors import TrainingError
from training.utils.progress import bar
from training.voices import kokoro
from training.voices.engines import SpokenText, Voice, command, people, shares
from training.voices.near_words import near_texts, word_list
from training.voices.pronunciation_variants import ENGINES, articulate, uneven

SPEECH_MANIFEST = "manifest.jsonl"
ORDER = ".order.jsonl"  # what is to be said, a line a file, from before the first one is spoken
MIN_SECONDS, MAX_SECONDS = 0.15, 9.0
TRIM_DB = -40.0  # below the clip's loudest 10 ms: silence
VARIED = (0.5, 0.4)  # shares of the positives whose phones, and whose paces, are not the engine's
VARIED_OTHERS = 0.3  # share of the negatives whose paces are not
TIMEOUT = 60  # s; an engine that takes longer hangs


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


def speak(utterance: SpokenText) -> tuple[FloatArray, int]:
    """Samples (-1 to 1, trimmed) and their rate in Hz. Raises TrainingError with the engine's own words."""
    samples, rate = _spoken(utterance)
    clip = trim(samples, rate)
    if utterance.uneven and len(clip):
        return uneven(clip, rate, np.random.default_rng(utterance.uneven))
    return clip, rate


def _spoken(utterance: SpokenText) -> tuple[FloatArray, int]:
    if utterance.voice.engine == "kokoro":
        return kokoro.say(utterance.voice.name, utterance.text, utterance.rate, utterance.pitch)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        arguments, text = command(utterance, path)
        result = subprocess.run(arguments, input=text, capture_output=True, text=True, timeout=TIMEOUT, check=False)
        if result.returncode or not path.exists():
            reason = (result.stderr.strip().splitlines() or ["no sound"])[-1]
            raise TrainingError(f"{utterance.voice.engine} ({utterance.voice.name}) failed: {reason}")
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return samples[:, 0], rate


def draw(texts: Sequence[str], voices: Sequence[Voice], count: int, rng: np.random.Generator) -> list[SpokenText]:
    """`count` utterances: a text, an engine, one of its voices, a rate and a pitch, each drawn at random.

    Engines with few but natural voices get more than their share of voices (`engines.shares`).
    """
    by_engine: dict[str, list[Voice]] = {}
    for voice in voices:
        by_engine.setdefault(voice.engine, []).append(voice)
    weights = shares(voices)
    engines = list(by_engine)
    utterances = []
    for _ in range(count):
        engine = engines[rng.choice(len(engines), p=[weights[name] for name in engines])]
        voice = by_engine[engine][rng.integers(len(by_engine[engine]))]
        rate = float(np.exp(rng.uniform(np.log(0.75), np.log(1.35))))
        text = texts[int(rng.integers(len(texts)))]
        utterances.append(SpokenText(text, voice, round(rate, 3), round(float(rng.uniform(-1, 1)), 3)))
    return utterances


def vary(utterances: Sequence[SpokenText], rng: np.random.Generator, phones: float, paces: float) -> list[SpokenText]:
    """A share `phones` of them articulated as other people might, a share `paces` at a pace that changes.

    Each share is drawn at random; those articulated are most of those with a pace of their own, or the other way round.
    """
    varied = []
    for utterance in utterances:
        one = float(rng.random())
        if one < phones and utterance.voice.engine in ENGINES:
            said = articulate(utterance.text, utterance.voice.engine, rng)
            utterance = replace(utterance, phones=said)
        if one < paces:
            utterance = replace(utterance, uneven=int(rng.integers(1, 2**31)))
        varied.append(utterance)
    return varied


def speak_all(utterances: Sequence[SpokenText], folder: Path, title: str) -> int:
    """Write each utterance as a FLAC file and the manifest; what is there already is kept. Returns how many failed.

    Files are numbered in the order given, so an interrupted run goes on where it stopped. Raises TrainingError if the
    folder holds clips of other utterances.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _order(utterances, folder)

    def one(item: tuple[int, SpokenText]) -> str | None:
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
        with atomic_write(path) as partial:
            soundfile.write(partial, samples, rate, format="FLAC", subtype="PCM_16")
        return None

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        failures = [
            failure for failure in bar(pool.map(one, enumerate(utterances)), title, "clip", len(utterances)) if failure
        ]
    with (folder / SPEECH_MANIFEST).open("w") as manifest:
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


def _order(utterances: Sequence[SpokenText], folder: Path) -> None:
    """Note what shall be said, unless something else was said here already."""
    note = folder / ORDER
    lines = [json.dumps(asdict(utterance)) for utterance in utterances]
    before = note.read_text(encoding="utf-8").splitlines() if note.exists() else _said(folder, len(lines))
    for path in folder.glob("[0-9]" * 5 + ".flac"):
        if (number := int(path.stem)) >= len(lines) or lines[number : number + 1] != before[number : number + 1]:
            raise TrainingError(f"{path}: here something else was said before; remove {folder}, or name another folder")
    with atomic_write(note) as partial:
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _said(folder: Path, count: int) -> list[str]:
    """By the manifest what was said, as in the note, which older folders lack."""
    said = [""] * count
    manifest = folder / SPEECH_MANIFEST
    for line in manifest.read_text(encoding="utf-8").splitlines() if manifest.exists() else []:
        entry = json.loads(line)
        if (number := int(entry.pop("file").partition(".")[0])) < count:
            said[number] = json.dumps(entry)
    return said


def speak_corpus(
    phrase: str,
    folder: Path,
    positives: int,
    negatives: int,
    seed: int,
    voices: Sequence[Voice],
    vocabulary: Sequence[str],
    names: tuple[str, str] = ("positives", "negatives"),
) -> None:
    """The synthetic part of a training set: `folder`/positives and `folder`/negatives, or other names.

    One negative in four is a near miss, one in four a sentence, the rest are words; the same voices say them,
    or the network would learn "a synthetic voice" instead of the word. vocabulary: the other words (`vocabulary_of`).
    """
    rng = np.random.default_rng(seed)
    engines = ", ".join(f"{engine} {share:.0%}" for engine, share in shares(voices).items())
    tqdm.write(f"{people(voices)} voices ({engines}); words near {phrase!r} among {len(vocabulary)} (a minute)")
    near = near_texts(phrase, vocabulary, 150)
    tqdm.write(f"near words: {', '.join(list(dict.fromkeys(near))[:: max(1, len(near) // 12)])} ...")
    quarter = negatives // 4
    spoken_words = list(rng.choice(vocabulary, size=negatives - 2 * quarter))
    utterances = [
        *draw(near, voices, quarter, rng),
        *draw(sentences(spoken_words, quarter, rng), voices, quarter, rng),
        *draw(spoken_words, voices, negatives - 2 * quarter, rng),
    ]
    said = vary(draw([phrase], voices, positives, rng), rng, *VARIED)
    failed = speak_all(said, folder / names[0], "positives")
    failed += speak_all(vary(utterances, rng, 0.0, VARIED_OTHERS), folder / names[1], "negatives")
    if failed:
        tqdm.write(f"{failed} of {positives + negatives} utterances were left out")


def vocabulary_of(words: Path | None) -> list[str]:
    """The words of a list, or of the machine's dictionaries. Raises TrainingError if there are none."""
    if words is None:
        return word_list()
    try:
        found = words.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingError(f"{words}: not a word list ({error})") from error
    if not found:
        raise TrainingError(f"{words}: no word in it")
    return found
