"""The speech synthesisers of this machine: which voices they have, and the command that makes one speak.

espeak-ng has hundreds of voices of one family, flite and festival a few recorded people each. Piper is taken where
it is installed and voices (`*.onnx`, each with its `*.onnx.json`) lie in the folder that `PIPER_VOICES` names; a
voice with many speakers counts as many. Kokoro is taken where `KOKORO` names the folder of its model
(`training.voices.kokoro`); it is no command, and speaks in this process.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from training.utils.errors import TrainingError
from training.voices import kokoro

PIPER_VOICES = "PIPER_VOICES"  # the environment variable
_ESPEAK_ACCENTS = ("en-us", "en-gb", "en-gb-x-rp", "en-gb-scotland", "en-gb-x-gbclan", "en-029")
# robots, whispers, choirs and animals: nobody talks so
_ESPEAK_ODD = re.compile(r"whisper|robo|croak|klatt|zac|norbert|demonic|UniRobot|fast|sandro|Storm|Denis|ed2", re.I)
_FLITE_PITCH = {"kal": 95, "kal16": 95, "awb": 120, "rms": 95, "slt": 175}  # Hz, each voice's own
# how often each speaks beside the others: espeak-ng has many voices but one manner, festival is slow
_SHARES = {"espeak-ng": 0.5, "flite": 0.45, "festival": 0.02}
_OTHERS_PEOPLE = 8  # independent voices of the three above, together
# at most: Piper's voices are of one kind as well, and Kokoro's, as often as all others, did best (training/RESULTS.md)
_MOST = {"piper": 0.8, "kokoro": 0.5}


@dataclass(frozen=True)
class Voice:
    """One speaker of one engine. name: as the engine knows it; Piper's is a file, and # and a number of many.

    Kokoro's are those of `kokoro.voices`.
    """

    engine: str
    name: str


@dataclass(frozen=True)
class SpokenText:
    """What is to be said, by whom, how. rate: factor on the engine's normal one; pitch: -1 (low) to 1 (high).

    Kokoro's voices have their pitch; there it says with which melody the text ends.

    phones: the text as `training.voices.pronunciation_variants` has it said, in the engine's own phones, if not as the
    engine would; uneven: what `pronunciation_variants.uneven` draws its paces from, 0 for the engine's own pace.
    """

    text: str
    voice: Voice
    rate: float
    pitch: float
    phones: str = ""
    uneven: int = 0


def find_voices(piper: Path | None = None, kokoro_folder: Path | None = None) -> list[Voice]:
    """Every voice of every engine on this machine.

    piper, kokoro_folder: the folder of its voices, instead of `PIPER_VOICES` and `KOKORO`.
    Raises TrainingError if there is no engine, or if one of those folders was named and cannot be used.
    """
    voices = [
        *_espeak_voices(),
        *_flite_voices(),
        *_festival_voices(),
        *_piper_voices(piper),
        *_kokoro_voices(kokoro_folder),
    ]
    if not voices:
        raise TrainingError("no speech synthesiser found (Debian: apt install espeak-ng flite)")
    return voices


def people(voices: Sequence[Voice]) -> int:
    """How many of the voices are an engine's own, and not made of two others."""
    return sum(voice.engine != "kokoro" or kokoro.is_own(voice.name) for voice in voices)


def shares(voices: Sequence[Voice]) -> dict[str, float]:
    """How much each engine speaks; they add up to one, whichever engines there are.

    The shares of Piper and of Kokoro grow with their speakers, against the eight people that the others amount to.
    """
    engines = list(dict.fromkeys(voice.engine for voice in voices))
    speakers = {engine: people([voice for voice in voices if voice.engine == engine]) for engine in _MOST}
    everybody = sum(speakers.values()) + _OTHERS_PEOPLE
    weights = {engine: min(speakers[engine] / everybody, _MOST[engine]) for engine in engines if engine in _MOST}
    rest = sum(_SHARES[engine] for engine in engines if engine not in _MOST)
    left = 1 - sum(weights.values())
    weights |= {engine: left * _SHARES[engine] / rest for engine in engines if engine not in _MOST}
    total = sum(weights.values())
    return {engine: weights[engine] / total for engine in engines}


def command(utterance: SpokenText, path: Path) -> tuple[list[str], str]:
    """What makes the engine write the utterance to a WAV file, and what it reads on its standard input.

    Raises TrainingError for a voice that espeak-ng does not have: it would speak with its default one instead.
    """
    return _COMMANDS[utterance.voice.engine](utterance, path)


def _espeak_voices() -> Iterator[Voice]:
    if not shutil.which("espeak-ng"):
        return
    accents, variants = _espeak_known()
    for accent in _ESPEAK_ACCENTS:
        for variant in variants if accent in accents else ():
            if not _ESPEAK_ODD.search(variant):
                yield Voice("espeak-ng", f"{accent}+{variant}")


@cache
def _espeak_known() -> tuple[frozenset[str], tuple[str, ...]]:
    """The languages and the variants that espeak-ng lists."""

    def rows(kind: str) -> list[list[str]]:
        listing = subprocess.run(["espeak-ng", f"--voices{kind}"], capture_output=True, text=True, check=True).stdout
        return [line.split() for line in listing.splitlines()[1:]]

    languages = frozenset(row[1] for row in rows("") if len(row) > 4)
    variants = tuple(name for row in rows("=variant") for name in row if name.startswith("!v/"))
    return languages, tuple(name.removeprefix("!v/") for name in variants)


def check_espeak_voice(name: str) -> None:
    """Raise TrainingError unless espeak-ng has this voice: it says nothing and speaks with another one instead."""
    accents, variants = _espeak_known()
    accent, _, variant = name.partition("+")
    if accent not in accents or (variant and variant not in variants):
        raise TrainingError(f"espeak-ng has no voice {name!r} (espeak-ng --voices lists them)")


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


def _piper_voices(folder: Path | None) -> Iterator[Voice]:
    named = folder or (Path(os.environ[PIPER_VOICES]) if os.environ.get(PIPER_VOICES) else None)
    if named is None:
        return
    if not shutil.which("piper"):
        raise TrainingError(f"{named} is to hold Piper's voices, but there is no program piper (pip install piper-tts)")
    models = sorted(named.glob("**/*.onnx"))
    if not models:
        raise TrainingError(f"{named} holds no voice of Piper (NAME.onnx beside NAME.onnx.json)")
    for model in models:
        description = model.with_name(f"{model.name}.json")
        try:
            speakers = int(json.loads(description.read_text(encoding="utf-8")).get("num_speakers", 1))
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise TrainingError(f"{description}: not the description of a Piper voice ({error})") from error
        names = [f"{model}#{number}" for number in range(speakers)] if speakers > 1 else [str(model)]
        yield from (Voice("piper", name) for name in names)


def _kokoro_voices(folder: Path | None) -> Iterator[Voice]:
    named = folder or (Path(os.environ[kokoro.KOKORO]) if os.environ.get(kokoro.KOKORO) else None)
    if named is not None:
        yield from (Voice("kokoro", name) for name in kokoro.voices(named))


def _espeak(utterance: SpokenText, path: Path) -> tuple[list[str], str]:
    check_espeak_voice(utterance.voice.name)
    words_per_minute = round(165 * utterance.rate)
    pitch = round(50 + 40 * utterance.pitch)
    options = ["-v", utterance.voice.name, "-s", str(words_per_minute), "-p", str(pitch), "-w", str(path)]
    return ["espeak-ng", *options, "--", utterance.phones or utterance.text], ""


def _flite(utterance: SpokenText, path: Path) -> tuple[list[str], str]:
    pitch = _FLITE_PITCH.get(utterance.voice.name, 120) * 2 ** (0.35 * utterance.pitch)
    options = ["--setf", f"duration_stretch={1 / utterance.rate:.3f}", "--setf", f"int_f0_target_mean={pitch:.0f}"]
    said = ["-p", utterance.phones] if utterance.phones else ["-t", utterance.text]
    return ["flite", "-voice", utterance.voice.name, *options, *said, "-o", str(path)], ""


def _festival(utterance: SpokenText, path: Path) -> tuple[list[str], str]:
    text = path.with_suffix(".txt")
    text.write_text(utterance.text)
    stretch = f"(Parameter.set 'Duration_Stretch {1 / utterance.rate:.3f})"
    options = ["-eval", f"(voice_{utterance.voice.name})", "-eval", stretch, str(text), "-o", str(path)]
    return ["text2wave", *options], ""


def _piper(utterance: SpokenText, path: Path) -> tuple[list[str], str]:
    # with underscores, and the text on standard input: so both its older and its newer program take it
    model, many, speaker = utterance.voice.name.partition(".onnx#")
    options = ["--model", f"{model}.onnx", "--speaker", speaker] if many else ["--model", model]
    options += ["--length_scale", f"{1 / utterance.rate:.3f}", "--output_file", str(path)]
    return ["piper", *options], utterance.text + "\n"


_COMMANDS: dict[str, Callable[[SpokenText, Path], tuple[list[str], str]]] = {
    "espeak-ng": _espeak,
    "flite": _flite,
    "festival": _festival,
    "piper": _piper,
}
