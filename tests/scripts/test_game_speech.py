"""The speech of three old games: their formats, RNC's compression, and each real package."""

import io
import shutil
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from scripts.game_speech import (
    _SKY_BITS,
    _SKY_CHARACTERS,
    PACKAGES,
    RNC_MAGIC,
    _checksum,
    _prefix_code,
    amazon_queen,
    drascula,
    steel_sky,
    unpack,
)
from training.corpora.download_debian import fetch
from training.corpora.transcripts import spell, transcripts
from training.utils.errors import TrainingError

pytestmark = pytest.mark.slow

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


CODES = 5  # bits of every word of the packer's codes, which therefore have 32 words


class _Packer:
    """Writes bits and bytes where a reader, who always has the next whole word of 16 bits at hand, looks for them."""

    def __init__(self) -> None:
        self.out, self.words, self.bits, self.count = bytearray(2), [0], "", 16
        self.number(0, 2)

    def number(self, value: int, count: int) -> None:
        self.bits += f"{value:0{count}b}"[::-1] if count else ""
        self.count -= count
        if self.count < 16:
            self.words.append(len(self.out))
            self.out += bytes(2)
            self.count += 16

    def coded(self, value: int) -> None:
        """Words ascend in a code whose words have one length, and their highest bit comes first."""
        size = value.bit_length()
        self.number(int(f"{size:0{CODES}b}"[::-1], 2), CODES)
        if size > 1:
            self.number(value - (1 << size - 1), size - 1)

    def plain(self, data: bytes) -> None:
        self.coded(len(data))
        if data:
            del self.out[-2:]  # the word at hand, of which no bit is used yet, moves behind
            self.out += data
            self.words[-1] = len(self.out)
            self.out += bytes(2)

    def done(self) -> bytes:
        bits = self.bits.ljust(16 * len(self.words), "0")
        for number, at in enumerate(self.words):
            struct.pack_into("<H", self.out, at, int(bits[16 * number : 16 * number + 16][::-1], 2))
        return bytes(self.out)


def _rnc_pack(chunks: list[list[tuple[bytes, int, int]]]) -> tuple[bytes, bytes]:
    """Chunks of (plain bytes, how far back, how many copied) -> packed, and what it should give."""
    packer, whole = _Packer(), bytearray()
    for chunk in chunks:
        for _ in range(3):
            packer.number(31, 5)  # as many as fit into five bits; the code's last word is not used
            for _ in range(31):
                packer.number(CODES, 4)
        packer.number(len(chunk), 16)
        for number, (data, back, length) in enumerate(chunk):
            packer.plain(data)
            whole += data
            if number < len(chunk) - 1:
                packer.coded(back - 1)
                packer.coded(length - 2)
                for _ in range(length):
                    whole.append(whole[-back])
    packed = packer.done()
    head = struct.pack(">4sIIHHBB", RNC_MAGIC, len(whole), len(packed), _checksum(whole), 0, 0, len(chunks))
    return head + packed, bytes(whole)


def _chunk(rng: np.random.Generator, before: int) -> tuple[list[tuple[bytes, int, int]], int]:
    """A chunk behind so many bytes, and how many there are after it."""
    chunk = []
    for _ in range(40):
        data = rng.integers(0, 256, int(rng.integers(0, 30)) + (before == 0), np.uint8).tobytes()
        before += len(data)
        length = int(rng.integers(2, 300))
        chunk.append((data, int(rng.integers(1, before + 1)), length))  # some reach into themselves
        before += length
    return chunk, before - length  # nothing is copied at the end


def test_what_was_packed_comes_out_again() -> None:
    rng = np.random.default_rng(3)
    for count in (1, 2, 5):
        chunks, before = [], 0
        for _ in range(count):
            chunk, before = _chunk(rng, before)
            chunks.append(chunk)
        packed, whole = _rnc_pack(chunks)
        assert unpack(packed) == whole
        assert unpack(packed + b"more behind it") == whole


def test_the_checksum_is_the_usual_crc_16() -> None:
    assert _checksum(b"123456789") == 0xBB3D  # the check value of CRC-16/ARC


def test_damage_is_a_sentence() -> None:
    packed, _ = _rnc_pack([_chunk(np.random.default_rng(4), 0)[0]])
    with pytest.raises(ValueError, match="not packed by method 1"):
        unpack(b"RNC\x02" + packed[4:])
    for short in (b"", packed[:10], packed[:100]):
        with pytest.raises(ValueError, match=r"ends early|damaged|not packed"):
            unpack(short)
    noticed = 0
    for at in range(18, len(packed) - 4):
        damaged = bytearray(packed)
        damaged[at] ^= 0x40
        try:
            unpack(bytes(damaged))
        except ValueError:
            noticed += 1
    # the lengths of words that nothing uses, and bits behind the last one used, may change
    assert noticed >= 0.95 * (len(packed) - 22)


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


PACKAGE = {package.name: package for package in PACKAGES}


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "lines", "texts"),
    [
        ("beneath-a-steel-sky", 3400, 3400),
        ("flight-of-the-amazon-queen", 6700, 6300),
        ("drascula", 770, 0),
    ],
)
def test_a_real_package_becomes_speech_in_which_its_texts_are_heard(tmp_path, monkeypatch, name, lines, texts) -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip("no apt-get or dpkg-deb")
    monkeypatch.chdir(tmp_path)
    try:
        folder = fetch(PACKAGE[name], Path("sounds"))
    except TrainingError as error:
        if "could not be downloaded" not in str(error):
            raise
        pytest.skip(str(error))
    found = list(folder.glob("*.flac"))
    assert len(found) >= lines
    assert (folder / "copyright").exists()
    assert fetch(PACKAGE[name], Path("sounds")) == folder  # what is there is kept
    if texts:
        said = [(len(text), sf.info(path).duration) for path, _, text in transcripts(folder)]
        assert len(said) >= texts
        # a longer text takes longer to say: texts of other lines would not correlate
        assert np.corrcoef(np.array(said).T)[0, 1] > 0.7
        # noise in place of what was packed would be as long: nothing of it is heard, of speech a quarter and more
        assert _heard(folder) > 0.1
