"""Speech and music out of Debian packages: the games' formats, what is written, and one real package of each kind."""

import io
import shutil
import struct
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from training.corpus import load
from training.debian import PACKAGES, Package, chosen, fetch, write
from training.errors import TrainingError
from training.games import _SKY_BITS, _SKY_CHARACTERS, Line, _prefix_code, amazon_queen, drascula, steel_sky
from training.transcripts import spell, transcripts

TEXTS = ["It's a computer terminal...", "Hey!", "I'm gonna try to FIND that Overmann! " * 4, "So who BUILT it?"]


def _pack(texts: Sequence[str]) -> bytes:
    """A section of texts as the game has it: skips of each block of 32, then of each text, then the words."""
    words = {character: word for word, character in _code().items()}
    packed = ["".join(words[character] for character in text + "\0") for text in texts]
    packed = [bits + "0" * (-len(bits) % 2) for bits in packed]
    pairs = [len(bits) // 2 for bits in packed] + [0] * (-len(texts) % 32)
    # a skip of more than 127 pairs is kept in eighths: such a text is filled up
    for at, bits in enumerate(packed):
        if pairs[at] > 127:
            packed[at] = bits + "0" * (-len(bits) % 16)
            pairs[at] = len(packed[at]) // 2
    blocks = [sum(pairs[at : at + 32]) for at in range(0, len(pairs), 32)]
    skips = bytes(count if count < 128 else 0x80 | count >> 3 for count in pairs)
    head = struct.pack(f"<{len(blocks)}H", *blocks)
    bits = "".join(packed)
    bits += "0" * (-len(bits) % 8)
    body = bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))
    begin = 4 + len(head) + len(skips)
    return struct.pack("<HH", 4 + len(head), begin) + head + skips + body


def _code() -> dict[str, str]:
    return _prefix_code(_SKY_CHARACTERS, [int(bits, 17) for bits in _SKY_BITS])


def _sky(folder: Path, files: dict[int, bytes]) -> Path:
    data, directory = b"", struct.pack("<I", len(files))
    for number, content in files.items():
        data += b"\0" * (-len(data) % 16)
        directory += struct.pack("<H", number)
        directory += (len(data) >> 4 | 0x800000).to_bytes(3, "little") + len(content).to_bytes(3, "little")
        data += content
    (folder / "sky.dnr").write_bytes(directory)
    (folder / "sky.dsk").write_bytes(data)
    return folder


def _speech(seed: int, count: int = 11_025) -> bytes:
    return np.random.default_rng(seed).integers(0, 256, count, np.uint8).tobytes()


def test_the_code_of_the_texts_is_complete_and_no_word_begins_another() -> None:
    code = _code()
    assert sum(2.0 ** -len(word) for word in code) == 1
    assert len({*code.values()}) == len(code)


@pytest.mark.parametrize("count", [4, 40])
def test_lines_of_the_steel_sky_keep_their_sound_and_get_their_texts(tmp_path, count) -> None:
    texts = (TEXTS * count)[:count]
    files = {60_600 + section: _pack(["?"]) for section in range(6)} | {60_601: _pack(texts)}
    spoken = {50_600 + number: b"\0" * 22 + _speech(number) for number in range(count)}
    lines = list(steel_sky(_sky(tmp_path, files | spoken)))
    assert [(line.name, line.text) for line in lines] == [(str(50_600 + at), text) for at, text in enumerate(texts)]
    played = np.round(lines[1].samples * 128 + 128).astype(np.uint8).tobytes()
    assert (played, lines[1].rate) == (_speech(1), 11_025)


def _queen(folder: Path, files: dict[str, bytes]) -> Path:
    offset = 15 + 21 * len(files)
    head, body = b"QTBLCEM10\0\0\0\1" + struct.pack(">H", len(files)), b""
    for name, content in files.items():
        head += struct.pack(">12sBII", name.encode(), 1, offset + len(body), len(content))
        body += content
    (folder / "queen.1c").write_bytes(head + body)
    return folder


def _entry(number: int, text: str) -> bytes:
    entry = struct.pack(">hhB", 0, number, len(text)) + text.encode()
    return entry + b"\0" * (-len(entry) % 4)


def test_lines_of_the_amazon_queen_are_told_apart_by_who_says_which_part_of_what(tmp_path) -> None:
    joe = _entry(0, "") + _entry(7, "You don't get out of it.*03I've got questions.*15")
    other = _entry(10, "Maybe...*XY00(237,112)But of course.")
    head = struct.pack(">5h", 0, 1, 24, 1, 1) + bytes(12) + struct.pack(">3H", 32 + len(joe), 0, 0) + bytes(4)
    sound = io.BytesIO()
    sf.write(sound, np.sin(np.arange(8000) / 9), 16_000, format="WAV")
    names = ("240007J1", "240007J2", "24000AP1", "24000AP2", "C1A__021", "C1A__022", "C1A__031", "JOE00412", "MIK_011")
    # a scene's texts: one before its steps, then one of each; of even length in all, but an empty one is one byte
    steps = ["*FF", "", "Observe!*00Now it flies.", "Oh..."]
    scene = struct.pack(">6h", 0, -3, 0, 0, 12, 0)
    for text in steps:
        scene += bytes([len(text)]) + text.encode() + b"\0" * (bool(text) and len(scene) + 1 + len(text) & 1)
    looks = b"*02It moves.\r\nNot mine.\r\n"
    files = {"APE.DOG": bytes(20) + head + joe + other, "C1A.CUT": bytes(20) + scene, "QUEEN2.JAS": looks}
    files |= {f"{name}.SB": sound.getvalue() for name in names}
    lines = {line.name: line for line in amazon_queen(_queen(tmp_path, files | {"EMPTY.SB": b"x"}))}
    assert {name: line.text for name, line in lines.items()} == {
        "240007J1": "You don't get out of it.",
        "240007J2": "I've got questions.",
        "24000AP1": "Maybe...",
        "24000AP2": "But of course.",
        "C1A__021": "Observe!",
        "C1A__022": "Now it flies.",
        "C1A__031": "Oh...",
        "JOE00412": "It moves.",
        "MIK_011": "",
    }
    assert lines["240007J1"].rate == 16_000


def test_a_folder_without_the_games_files_is_one_sentence(tmp_path) -> None:
    for lines, name in ((steel_sky, "sky.dnr"), (amazon_queen, "queen.1c"), (drascula, r"\*.ALS")):
        with pytest.raises(TrainingError, match=f"no {name} in it"):
            list(lines(tmp_path))
    _sky(tmp_path, {50_600: b"\0" * 22 + _speech(0)})  # with sound, but without the texts of that version
    with pytest.raises(TrainingError, match=r"sky\.dsk: not the file of the game"):
        list(steel_sky(tmp_path))
    _sky(tmp_path, {50_600: b"\0" * 22 + b"RNC\x01" + _speech(0), 60_601: _pack(TEXTS)})
    with pytest.raises(TrainingError, match=r"sky\.dsk: the packed file"):
        list(steel_sky(tmp_path))
    (tmp_path / "queen.1c").write_bytes(b"QTBL" + bytes(9) + b"\xff\xff")
    with pytest.raises(TrainingError, match="not the file of the game"):
        list(amazon_queen(tmp_path))


def test_warzone_gets_the_texts_that_its_list_of_sounds_remarks(tmp_path) -> None:
    sound = io.BytesIO()
    sf.write(sound, np.sin(np.arange(8000) / 9), 16_000, format="OGG")
    names = ("memressp/research/pcv361", "memressp/research/pcv362", "beep1", "multi/gift")
    game = tmp_path / "usr/share/games/warzone2100"
    game.mkdir(parents=True)
    with zipfile.ZipFile(game / "base.wz", "w") as archive:
        archive.writestr(
            "audio/audio.cfg",
            '\taudio\t"beep1.ogg"\toneshot  30 1800\t/*Select*/\n\taudio "gift.ogg" oneshot 100 1800\n'
            '\taudio\t"pcv361.ogg"  \toneshot\t100 1800  /*Computer Research Completed*/\n'
            '\taudio\t"pcv362.ogg"  \toneshot\t100 1800  /*Power Research Completed*/\n',
        )
        for name in names:
            archive.writestr(f"audio/{name}.ogg", sound.getvalue())
        archive.writestr("sequenceaudio/res_com.ogg", sound.getvalue())  # its text is in no file, and has the word
    [package] = chosen(["warzone2100-data"])
    assert {line.name: line.text for line in package.lines(tmp_path)} == {
        "audio-memressp-research-pcv361": "Computer Research Completed",
        "audio-memressp-research-pcv362": "Power Research Completed",
        "audio-multi-gift": "",
    }


def test_what_is_written_is_what_the_training_reads(tmp_path) -> None:
    tone = np.sin(np.arange(11_025) / 20).astype(np.float32) / 2
    lines = [Line("a", tone, 11_025, "Tell me\tabout it"), Line("b", tone, 16_000), Line("short", tone[:900], 11_025)]
    assert write(iter(lines), tmp_path, "lines") == 2
    corpus = load([tmp_path], tmp_path / "cache", "speech")
    assert {Path(clip.path).stem: round(clip.length / 44_100, 1) for clip in corpus.clips} == {"a": 1.0, "b": 0.7}
    assert [(path.stem, text) for path, _, text in transcripts(tmp_path)] == [("a", "Tell me about it")]


def test_packages_are_chosen_by_name_and_the_usual_ones_else() -> None:
    assert {package.name for package in chosen([])} == {package.name for package in PACKAGES if package.usual}
    assert [package.name for package in chosen(["drascula"])] == ["drascula"]
    with pytest.raises(TrainingError, match="nosuch: not one of the packages"):
        chosen(["nosuch"])


def test_a_package_that_cannot_be_had_leaves_nothing_behind(tmp_path) -> None:
    if not shutil.which("apt-get"):
        pytest.skip("no apt-get")
    package = Package("no-such-package-anywhere", "speech", 1, "", lambda _: iter(()))
    with pytest.raises(TrainingError, match="no-such-package-anywhere could not be downloaded: "):
        fetch(package, tmp_path)
    assert list((tmp_path / "speech").iterdir()) == []


def _heard(folder: Path) -> float:
    """The share of the texts' words that PocketSphinx, which is told nothing, hears in forty of the recordings."""
    sphinx = pytest.importorskip("pocketsphinx").Decoder(samprate=16_000, loglevel="FATAL")
    heard, said = 0, 0
    for path, _, text in [entry for entry in transcripts(folder) if 5 <= len(entry[2].split()) <= 9][::20][:40]:
        sphinx.start_utt()
        sphinx.process_raw(sf.read(path, dtype="int16")[0].tobytes(), full_utt=True)
        sphinx.end_utt()
        words = {*spell(text)}
        heard += len(words & {*(sphinx.hyp().hypstr.split() if sphinx.hyp() else ())})
        said += len(words)
    return heard / said


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "lines", "texts"),
    [
        ("beneath-a-steel-sky", 3400, 3400),
        ("flight-of-the-amazon-queen", 6700, 6300),
        ("drascula", 770, 0),
        ("ktuberling-data", 1800, 0),
    ],
)
def test_a_real_package_becomes_speech_in_which_its_texts_are_heard(tmp_path, monkeypatch, name, lines, texts) -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip("no apt-get or dpkg-deb")
    monkeypatch.chdir(tmp_path)
    try:
        folder = fetch(chosen([name])[0], Path("sounds"))
    except TrainingError as error:
        if "could not be downloaded" not in str(error):
            raise
        pytest.skip(str(error))
    found = list(folder.glob("*.flac"))
    assert len(found) >= lines
    assert (folder / "copyright").exists()
    assert fetch(chosen([name])[0], Path("sounds")) == folder  # what is there is kept
    if texts:
        said = [(len(text), sf.info(path).duration) for path, _, text in transcripts(folder)]
        assert len(said) >= texts
        # a longer text takes longer to say: texts of other lines would not correlate
        assert np.corrcoef(np.array(said).T)[0, 1] > 0.7
        # noise in place of what was packed would be as long: nothing of it is heard, of speech a quarter and more
        assert _heard(folder) > 0.1
