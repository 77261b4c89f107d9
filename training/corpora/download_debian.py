"""Names of Debian packages in, folders of real speech and music out, for `fit`, `word` and `evaluate`.

Free games, telephone prompts and programs for children bring hours of people who speak, with licences that let everyone
use them. Each package becomes a folder of FLAC files at 16 kHz, with its copyright file, and transcripts where the
package has them. A folder that is there is whole, and is kept.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import soundfile as sf
import soxr

from model.frontend import FloatArray
from training.corpora.corpus import SUFFIXES
from training.utils.errors import TrainingError
from training.utils.progress import bar

SPEECH, MUSIC = "speech", "music"
_RATE = 16_000  # Hz: hardly any of it has more
_SHORTEST = 0.25  # seconds
_DOWNLOAD_TIMEOUT = 1800  # seconds for one package to arrive
_NOWHERE = "(?!)"  # a pattern that nothing matches


class SpokenLine(NamedTuple):
    """Something that is said. samples: -1 to 1, at `rate` Hz; text: "" where it is not known."""

    name: str
    samples: FloatArray
    rate: int
    text: str = ""


def recording(name: str, file: Path | IO[bytes], text: str = "") -> Iterator[SpokenLine]:
    """A file of sound as a line, its channels mixed; nothing if it cannot be read: empty, or of another format."""
    try:
        samples, rate = sf.read(file, dtype="float32", always_2d=True)
    except (sf.LibsndfileError, RuntimeError):
        return
    yield SpokenLine(name, samples.mean(axis=1), rate, text)


@dataclass(frozen=True)
class Package:
    """A Debian package. megabytes: to download; usual: whether it comes unless packages are named."""

    name: str
    kind: str
    megabytes: int
    what: str
    lines: Callable[[Path], Iterator[SpokenLine]]
    usual: bool = True


def _name(path: str) -> str:
    """A path within a package as the name of one file."""
    return path.rpartition(".")[0].replace("/", "-")


def _wanted(path: str, within: str, without: str) -> bool:
    """Whether it is a recording that the first pattern finds, and the second does not."""
    return Path(path).suffix.lower() in SUFFIXES and bool(re.search(within, path)) and not re.search(without, path)


def _folder(inside: str, within: str = "", without: str = _NOWHERE) -> Callable[[Path], Iterator[SpokenLine]]:
    """The recordings below a folder of the package; within, without: what of their paths is, or is not, wanted."""

    def lines(root: Path) -> Iterator[SpokenLine]:
        seen = set()
        for path in sorted((root / inside).rglob("*")):
            name = str(path.relative_to(root / inside))
            if not _wanted(name, within, without) or not path.is_file():
                continue
            if (content := hashlib.sha256(path.read_bytes()).digest()) in seen:
                continue  # many pictures share what is said of them
            seen.add(content)
            yield from recording(_name(name), path)

    return lines


def _archive(
    inside: str, within: str, without: str = _NOWHERE, texts: Callable[[zipfile.ZipFile], dict[str, str]] | None = None
) -> Callable[[Path], Iterator[SpokenLine]]:
    """The recordings in a zip file of the package. texts: of some, by the last part of the recording's path."""

    def lines(root: Path) -> Iterator[SpokenLine]:
        with zipfile.ZipFile(root / inside) as archive:
            known = texts(archive) if texts else {}
            for name in sorted(archive.namelist()):
                if _wanted(name, within, without):
                    text = known.get(name.rpartition("/")[2], "")
                    yield from recording(_name(name), BytesIO(archive.read(name)), text)

    return lines


def _remarks(archive: zipfile.ZipFile) -> dict[str, str]:
    """The texts of Warzone 2100's messages, which stand as remarks in its list of sounds."""
    lines = archive.read("audio/audio.cfg").decode("utf-8", "replace")
    return dict(re.findall(r'"([^"\n]+)".*/\*(.+?)\*/', lines))


_ASTERISK = "usr/share/asterisk/sounds"
_NO_SPEECH = "beep|tone|monkeys|tt-"  # among a telephone's sounds


def _prompts(language: str, name: str, without: str = _NOWHERE) -> Package:
    return Package(
        f"asterisk-core-sounds-{language}-wav",
        SPEECH,
        20,
        f"telephone prompts in {name}, 0.4 h",
        _folder(_ASTERISK, without=f"/(silence|letters|digits)/|{_NO_SPEECH}|{without}"),
    )


_GAMES = "usr/share/games"
_FILLETS = f"{_GAMES}/fillets-ng/sound"
# Where one of the words that chimed ships is said, and the package has no text that `fit` and `evaluate` could leave
# it out by: by the texts of another language, by the names of the files, and by ear
_DUTCH_COMPUTER = "poc-m-mysl|poc-v-[mn]|sec-m-prog|z-m-obl|disk-v-(vir|poz)|pz-m-poc|war-v-(poh|proz)"
_ENGLISH_ACTIVATED = r"/(de-)?activated\."
_NEXUIZ_ACTIVATE = "activates_the_buried_switch"
_WARZONE_COMPUTER = "sequenceaudio/res_com"
_WARZONE = "memressp|missmesg|tutorial|taunts|trnsppil|vtoltalk|coltive|nexus|sequenceaudio|countdown|multi"
PACKAGES = (
    _prompts("en", "English", _ENGLISH_ACTIVATED),
    _prompts("es", "Spanish"),
    _prompts("fr", "French"),
    _prompts("it", "Italian"),
    _prompts("ru", "Russian"),
    Package("fillets-ng-data-cs", SPEECH, 39, "a game's actors, Czech, 1.7 h", _folder(_FILLETS)),
    Package(
        "fillets-ng-data-nl", SPEECH, 33, "a game's actors, Dutch, 1.6 h", _folder(_FILLETS, without=_DUTCH_COMPUTER)
    ),
    Package(
        "tuxpaint-stamps-default",
        SPEECH,
        161,
        "single words in a dozen languages, by volunteers, 2 h",
        _folder("usr/share/tuxpaint/stamps", within="_desc"),
    ),
    Package(
        "ktuberling-data",
        SPEECH,
        47,
        "single words in two dozen languages, by volunteers, 0.5 h",
        _folder("usr/share/ktuberling/sounds"),
    ),
    Package(
        "klettres-data",
        SPEECH,
        40,
        "letters and syllables in two dozen languages, by volunteers, 0.9 h",
        _folder("usr/share/klettres"),
    ),
    Package(
        "asterisk-prompt-it-menardi-wav",
        SPEECH,
        19,
        "telephone prompts in Italian, another voice, 0.4 h",
        _folder(_ASTERISK, without=f"silence|{_NO_SPEECH}"),
    ),
    Package("fillets-ng-data", MUSIC, 71, "music and noises of a game, 0.5 h", _folder(_FILLETS.rpartition("/")[0])),
    Package("warzone2100-music", MUSIC, 86, "music, 4 h", _folder(f"{_GAMES}/warzone2100")),
    Package("colobot-common-sounds", MUSIC, 61, "music, 1.1 h", _folder(f"{_GAMES}/colobot/music")),
    Package(
        "hedgewars-data",
        SPEECH,
        145,
        "a game's exclamations, 0.3 h",
        _folder(f"{_GAMES}/hedgewars/Data/Sounds/voices"),
        usual=False,
    ),
    Package(
        "warzone2100-data",
        SPEECH,
        143,
        "a game's radio voices, English, 0.2 h, most of it with its text",
        _archive(f"{_GAMES}/warzone2100/base.wz", _WARZONE, _WARZONE_COMPUTER, _remarks),
        usual=False,
    ),
    Package(
        "nexuiz-data",
        SPEECH,
        267,
        "a game's shouts and announcements, English, 0.2 h",
        _archive(f"{_GAMES}/nexuiz/data/data.pk3", "coms|announcer|tutorial", _NEXUIZ_ACTIVATE),
        usual=False,
    ),
    Package(
        "supertuxkart-data", MUSIC, 628, "music, 1 h", _folder(f"{_GAMES}/supertuxkart", within="music"), usual=False
    ),
    Package(
        "unknown-horizons",
        MUSIC,
        248,
        "music, 0.7 h",
        _folder("usr/share/unknown-horizons/content/audio/music"),
        usual=False,
    ),
)


def chosen(names: Sequence[str]) -> list[Package]:
    """The packages of these names, the usual ones if there is none. Raises TrainingError for another name."""
    known = {package.name: package for package in PACKAGES}
    if unknown := [name for name in names if name not in known]:
        raise TrainingError(f"{unknown[0]}: not one of the packages known here, which are {', '.join(known)}")
    return [known[name] for name in names] or [package for package in PACKAGES if package.usual]


def fetch(package: Package, folder: Path) -> Path:
    """Download a package, and write its recordings to folder/speech/NAME or folder/music/NAME; returns that folder.

    What is there already is kept. Raises TrainingError: no apt, no network, no such package, no recording in it.
    """
    target = folder.absolute() / package.kind / package.name  # apt-get works in a folder of its own
    if target.exists():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{package.name}-", dir=target.parent) as scratch:
        root, made = Path(scratch) / "unpacked", Path(scratch) / "made"
        made.mkdir()
        _unpack(package, Path(scratch), root)
        if not write(package.lines(root), made, package.name):
            raise TrainingError(f"{package.name}: no recording found in this version of the package")
        licence = root / "usr/share/doc" / package.name / "copyright"
        if licence.exists():
            shutil.copy(licence, made / "copyright")
        made.rename(target)
    return target


def write(lines: Iterator[SpokenLine], folder: Path, title: str) -> int:
    """Write the lines as FLAC files and a transcripts.txt; returns how many there are. Shorter ones than 0.25 s go."""
    count, texts = 0, []
    for line in bar(lines, title, "recording"):
        if len(line.samples) < _SHORTEST * line.rate:
            continue
        samples = soxr.resample(line.samples, line.rate, _RATE) if line.rate != _RATE else line.samples
        sf.write(folder / f"{line.name}.flac", np.clip(samples, -1, 1), _RATE, subtype="PCM_16")
        count += 1
        if re.search(r"\w", text := " ".join(line.text.split())):
            texts.append(f"{line.name}\t{text}\n")
    if texts:
        (folder / "transcripts.txt").write_text("".join(texts), encoding="utf-8")
    return count


def _unpack(package: Package, scratch: Path, root: Path) -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise TrainingError("the recordings come in Debian packages, and apt-get or dpkg-deb is not on this machine")
    _run(["apt-get", "download", package.name], scratch, f"{package.name} could not be downloaded")
    try:
        [archive] = scratch.glob(f"{package.name}_*.deb")
    except ValueError:
        raise TrainingError(f"{package.name}: apt-get left no package behind") from None
    _run(["dpkg-deb", "-x", str(archive), str(root)], scratch, f"{package.name} could not be unpacked")


def _run(command: list[str], folder: Path, failure: str) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_DOWNLOAD_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise TrainingError(f"{failure}: {command[0]} took longer than {_DOWNLOAD_TIMEOUT // 60} min") from None
    if done.returncode:
        reasons = [line for line in done.stderr.splitlines() if line.startswith("E: ")] or done.stderr.splitlines()
        reason = reasons[0].removeprefix("E: ") if reasons else f"{command[0]} ended with status {done.returncode}"
        raise TrainingError(f"{failure}: {reason}")
