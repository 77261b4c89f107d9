"""Speech of three old adventure games, from Debian's packages, as FLAC with the text of most lines.

    python scripts/game_speech.py -o sounds                  # all three, 7.3 h of English by some dozens of actors
    python scripts/game_speech.py -o sounds drascula

Their makers gave the games away with all that is in them. The models that come with chimed were trained on this speech
beside others (`model/words/*.md`); the formats are those that ScummVM, which plays the games, knows. The folders are
like those of `chimed-train download`: DIR/speech/PACKAGE.
"""

from __future__ import annotations

import argparse
import itertools
import re
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np

from model.frontend import FloatArray
from training.corpora.download_debian import SPEECH, Package, SpokenLine, fetch, recording
from training.utils.errors import TrainingError

_RATE = 11_025  # Hz, of the games that keep plain samples of 8 bits


def steel_sky(folder: Path) -> Iterator[SpokenLine]:
    """What is said in "Beneath a Steel Sky" (Revolution, 1994), by its `sky.dnr` and `sky.dsk`."""
    disk = _SkyDisk(_read(folder, "sky.dnr"), _read(folder, "sky.dsk"))
    sections = [*_SKY_SECTIONS, _SKY_LAST]
    for section, (first, end) in enumerate(itertools.pairwise(sections)):
        for number in range(end - first):
            spoken = disk.file(_SKY_SPEECH + first + number)
            if len(spoken) <= _SKY_HEADER:
                continue
            try:
                text = disk.text(section, number)
            except (struct.error, IndexError) as error:
                raise TrainingError(f"{folder}/sky.dsk: not the file of the game that ScummVM offers") from error
            yield SpokenLine(str(_SKY_SPEECH + first + number), _eight_bit(_sky_sound(folder, spoken)), _RATE, text)


def _sky_sound(folder: Path, spoken: bytes) -> bytes:
    """The samples of a file of speech: nearly all of them are packed."""
    sound = spoken[_SKY_HEADER:]
    try:
        return unpack(sound) if sound.startswith(RNC_MAGIC) else sound
    except ValueError as error:
        raise TrainingError(f"{folder}/sky.dsk: {error}") from error


def amazon_queen(folder: Path) -> Iterator[SpokenLine]:
    """What is said in "Flight of the Amazon Queen" (Interactive Binary Illusions, 1995), by its `queen.1c`."""
    data = _read(folder, "queen.1c")
    files: dict[str, bytes] = {}
    try:
        [count] = struct.unpack_from(">H", data, _QUEEN_HEADER)
        for at in range(_QUEEN_HEADER + 2, _QUEEN_HEADER + 2 + count * _QUEEN_ENTRY.size, _QUEEN_ENTRY.size):
            name, _, offset, size = _QUEEN_ENTRY.unpack_from(data, at)
            files[name.partition(b"\0")[0].decode("latin-1")] = data[offset : offset + size]
        texts: dict[str, str] = {}
        for name, content in files.items():
            if name.endswith(".DOG"):
                texts = dict(_queen_texts(content[_QUEEN_BANK:])) | texts
            elif name.endswith(".CUT"):
                texts |= _queen_cutaway(name.removesuffix(".CUT"), content[_QUEEN_BANK:])
        texts |= _queen_looks(files.get("QUEEN2.JAS", b""))
    except (struct.error, IndexError) as error:
        raise TrainingError(f"{folder}/queen.1c: not the file of the game that ScummVM offers") from error
    for name, content in files.items():
        stem, _, suffix = name.partition(".")
        if suffix == "SB":
            yield from recording(stem, BytesIO(content), texts.get(stem, ""))


def drascula(folder: Path) -> Iterator[SpokenLine]:
    """What is said in "Drascula: The Vampire Strikes Back" (Alcachofa, 1996), by its `*.ALS`; no texts."""
    paths = sorted(folder.glob("*.ALS"))
    if not paths:
        raise TrainingError(f"{folder}: no *.ALS in it")
    for path in paths:
        yield SpokenLine(path.stem, _eight_bit(path.read_bytes()), _RATE)


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError:
        raise TrainingError(f"{folder}: no {name} in it") from None


def _eight_bit(data: bytes) -> FloatArray:
    samples: FloatArray = np.frombuffer(data, np.uint8).astype(np.float32)
    return (samples - np.float32(128)) / np.float32(128)


# Beneath a Steel Sky: speech and texts are files of numbers; sections of texts, each with where its speech begins
_SKY_SPEECH, _SKY_TEXTS, _SKY_HEADER = 50_000, 60_600, 22  # the last in bytes, before the samples
_SKY_SECTIONS, _SKY_LAST = (0, 600, 1100, 2430, 3380, 4530), 5300
# the prefix code of the texts: characters, from the code of zeros alone on, and the bits of each in base 17
_SKY_CHARACTERS = (
    " eaostn.ir\0EumAlIdRNSTOhcDgLCpU!yMPvH?b'f,GBVkFqwK-WJ*zYj+Q\x85)Z\x8b<\x95~\x8a\x87:\x7f]#xX\x91\x88`20\x831/(="
    '\x86^39\x984}8\\"\x90&\x8d56\x92\x8f\x8e\x93\x8c7\x80\x81\x99$@[\x9a_>\x96\x82%\t\x9c\x97{\x94|'
)
_SKY_BITS = (
    "3445555554665556666665776667777776887778877799888998889999aa9aa9bbaaabbabbaccbccbccbbbccccddcccddddd"
    "dddeedeeeeffeeeffefffgg"
)


def _prefix_code(characters: str, bits: Sequence[int]) -> dict[str, str]:
    """Word of zeros and ones -> character, of a complete code whose words ascend; bits: the length of each word."""
    longest, at, code = max(bits), 0, {}
    for character, count in zip(characters, bits, strict=True):
        code[f"{at >> (longest - count):0{count}b}"] = character
        at += 1 << (longest - count)
    return code


class _SkyDisk:
    """The game's disk. directory, data: `sky.dnr` and `sky.dsk`."""

    def __init__(self, directory: bytes, data: bytes) -> None:
        self._data = data
        self._entries: dict[int, tuple[int, int]] = {}
        for at in range(4, len(directory) - 7, 8):
            place = int.from_bytes(directory[at + 2 : at + 5], "little")
            # a place beyond the 8 MB that fit is counted in 16 bytes, which its highest bit says
            offset = (place & 0x7FFFFF) << 4 if place & 0x800000 else place
            size = int.from_bytes(directory[at + 5 : at + 8], "little") & 0x3FFFFF
            self._entries[int.from_bytes(directory[at : at + 2], "little")] = (offset, size)
        self._code = _prefix_code(_SKY_CHARACTERS, [int(bits, 17) for bits in _SKY_BITS])

    def file(self, number: int) -> bytes:
        """A file's content, nothing if there is no such file."""
        offset, size = self._entries.get(number, (0, 0))
        return self._data[offset : offset + size]

    def text(self, section: int, number: int) -> str:
        """A text of the English sections: packed one after the other, 32 to a block, each two bits or more long."""
        packed = self.file(_SKY_TEXTS + section)
        skips, begin = struct.unpack_from("<HH", packed)
        block, inside = number & ~31, number & 31
        pairs = sum(struct.unpack_from(f"<{block >> 5}H", packed, 4))
        for skip in packed[skips + block : skips + block + inside]:
            pairs += (skip & 0x7F) << 3 if skip & 0x80 else skip
        text, word = [], ""
        for bit in range(2 * pairs, 8 * (len(packed) - begin)):
            word += "01"[packed[begin + bit // 8] >> (7 - bit % 8) & 1]
            if (character := self._code.get(word)) is not None:
                if character == "\0":
                    break
                text.append(character)
                word = ""
        return "".join(text)


# Flight of the Amazon Queen: a directory, then the files; big-endian throughout
_QUEEN_HEADER, _QUEEN_BANK = 13, 20  # bytes, before the directory and in each file of dialogue
_QUEEN_ENTRY = struct.Struct(">12sBII")
_QUEEN_ANSWERS = 40  # that its hero gives again and again, and that are numbered before what he says of things
_QUEEN_TREE, _QUEEN_LEVEL = 32, 96  # bytes, before and of each level of the tree of a dialogue


def _queen_texts(dialogue: bytes) -> Iterator[tuple[str, str]]:
    """The name of each spoken line of one dialogue, and its text."""
    levels, _, key, joe_lines, other_lines = struct.unpack_from(">5h", dialogue)
    [others] = struct.unpack_from(">H", dialogue, 22)
    joe = _QUEEN_TREE + abs(levels) * _QUEEN_LEVEL
    for who, at, count in (("J", joe, joe_lines + 1), ("P", others, other_lines)):
        for _ in range(count):
            if at + 5 > len(dialogue):
                break
            number, length = struct.unpack_from(">hB", dialogue, at + 2)
            text = dialogue[at + 5 : at + 5 + length].decode("latin-1")
            at = (at + 5 + length + 3) & ~3  # the next begins at a multiple of four
            for part, said in _queen_parts(text):
                yield f"{key:2d}{number & 0xFFFF:4x}{who}{part:x}".replace(" ", "0").upper(), said


def _queen_cutaway(name: str, cutaway: bytes) -> Iterator[tuple[str, str]]:
    """The same of a scene that plays by itself: a text of no step, then one of each step; most are empty."""
    count, _, _, at = struct.unpack_from(">2h2H", cutaway, 2)
    for step in range(abs(count) + 1):
        if at >= len(cutaway):
            break
        length = cutaway[at]
        text = cutaway[at + 1 : at + 1 + length].decode("latin-1")
        at = (at + 1 + length + 1) & ~1 if length else at + 1
        for part, said in _queen_parts(text):
            if step:
                yield f"{name:_<5}{step:02d}{part:x}".upper(), said


def _queen_looks(lines: bytes) -> Iterator[tuple[str, str]]:
    """The same of what its hero says when he looks at something: a line of text for each thing, in order."""
    for number, text in enumerate(lines.decode("latin-1").splitlines(), 1 + _QUEEN_ANSWERS):
        for part, said in _queen_parts(text):
            yield f"JOE{number:04d}{part:x}".upper(), said


def _queen_parts(text: str) -> Iterator[tuple[int, str]]:
    """*03 and the like, for the animation, divide a text into what is said at once; their numbers and texts."""
    return enumerate(re.split(r"\*(?:XY.{11}|[A-Z0-9]{2})", text), 1)


# Rob Northen's compression

RNC_MAGIC = b"RNC\x01"
_RNC_HEADER = struct.Struct(">4sIIHHBB")  # magic, sizes unpacked and packed, their checksums, spare bytes, chunks
_PLAIN, _BACK, _LENGTH = range(3)  # the codes of a chunk: plain bytes, distance of a copy, its length
_NEAREST, _SHORTEST = 1, 2  # what is added to a distance and a length


def unpack(packed: bytes) -> bytes:
    """What was packed by Rob Northen's compression, method 1, in which old games keep their files.

    Runs of plain bytes alternate with copies of earlier ones. How long each is and how far back a copy begins are bits
    between the runs, in Huffman codes that every chunk of a file has anew. Words of 16 bits, the least significant
    first. Raises ValueError: not packed by this method, or damaged.
    """
    try:
        magic, size, length, checksum, _, _, chunks = _RNC_HEADER.unpack_from(packed)
        if magic != RNC_MAGIC:
            raise ValueError("not packed by method 1 of RNC")
        unpacked = _RncReader(packed[_RNC_HEADER.size :][:length]).chunks(chunks)
    except (struct.error, IndexError) as error:
        raise ValueError("the packed file ends early") from error
    if len(unpacked) != size or _checksum(unpacked) != checksum:
        raise ValueError("the packed file is damaged")
    return unpacked


class _RncReader:
    """Bits and bytes of the same stream. 16 to 31 bits are at hand, of which the upper 16 are the word at `at`."""

    def __init__(self, data: bytes) -> None:
        self._data = data + bytes(4)
        self._at = self._bits = self._count = 0
        self._take_word()
        self._read(2)  # marks of the packer

    def chunks(self, count: int) -> bytes:
        out = bytearray()
        for _ in range(count):
            codes = [self._code() for _ in range(3)]
            for left in range(self._read(16) - 1, -1, -1):
                out += self._plain(self._number(codes[_PLAIN]))
                if left:
                    first = len(out) - self._number(codes[_BACK]) - _NEAREST
                    if first < 0:
                        raise ValueError("the packed file is damaged")
                    end = first + self._number(codes[_LENGTH]) + _SHORTEST
                    while first < end:  # a copy may reach into itself, and then repeats
                        part = out[first:end]
                        out += part
                        first += len(part)
        return bytes(out)

    def _take_word(self) -> None:
        self._bits |= (self._data[self._at] | self._data[self._at + 1] << 8) << self._count
        self._count += 16

    def _read(self, count: int) -> int:
        value = self._bits & (1 << count) - 1
        self._bits >>= count
        self._count -= count
        if self._count < 16:
            self._at += 2
            self._take_word()
        return value

    def _plain(self, count: int) -> bytes:
        """So many bytes. They lie before the word at hand, which is therefore read anew after them."""
        if count == 0:
            return b""
        part = self._data[self._at : self._at + count]
        self._at += count
        self._count -= 16
        self._bits &= (1 << self._count) - 1
        self._take_word()
        return part

    def _code(self) -> list[tuple[int, int]]:
        """A Huffman code, by its words' lengths: for all bits that may come next, how many are the word, and which."""
        lengths = [self._read(4) for _ in range(self._read(5))]
        longest = max(lengths, default=0)
        table, word = [(0, 0)] * (1 << longest), 0
        for length in range(1, longest + 1):
            for number in (number for number, its in enumerate(lengths) if its == length):
                backwards = int(f"{word:0{length}b}"[::-1], 2)  # the first bit of a word is its highest
                table[backwards :: 1 << length] = [(length, number)] * (1 << longest - length)
                word += 1
            word <<= 1
        return table

    def _number(self, code: list[tuple[int, int]]) -> int:
        length, number = code[self._bits & len(code) - 1]
        self._read(length)
        if number < 2:
            return number
        return 1 << number - 1 | self._read(number - 1)  # such a word says only how many bits follow


def _checksum(data: bytes) -> int:
    """CRC-16 with the polynomial 0x8005, bits reversed."""
    crc = 0
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc


def _crc_of(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (0xA001 if byte & 1 else 0)
    return byte


_CRC = [_crc_of(byte) for byte in range(256)]


def _below(inside: str, lines: Callable[[Path], Iterator[SpokenLine]]) -> Callable[[Path], Iterator[SpokenLine]]:
    return lambda root: lines(root / inside)


PACKAGES = (
    Package(
        "flight-of-the-amazon-queen",
        SPEECH,
        35,
        "a game's actors, English, 4.6 h, half of it with its text",
        _below("usr/share/scummvm/flight-of-the-amazon-queen", amazon_queen),
    ),
    Package(
        "beneath-a-steel-sky",
        SPEECH,
        66,
        "a game's actors, English, 1.9 h with its text",
        _below("usr/share/scummvm/beneath-a-steel-sky", steel_sky),
    ),
    Package(
        "drascula", SPEECH, 26, "a game's actors, English, 0.8 h", _below("usr/share/scummvm/drascula/en", drascula)
    ),
)


def main() -> int:
    """Fetch the packages that are named, all if none is."""
    parser = argparse.ArgumentParser(description="Speech of three old adventure games, from Debian's packages.")
    names = [package.name for package in PACKAGES]
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help=f"{', '.join(names)} (default: all)")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", required=True, help="where the folders go")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.packages if name not in names]:
        parser.error(f"{unknown[0]}: there are {', '.join(names)}")
    try:
        for package in PACKAGES:
            if package.name in (arguments.packages or names):
                print(f"{package.name}: {package.what}, {package.megabytes} MB", flush=True)
                print(f"  in {fetch(package, arguments.output)}")
    except TrainingError as error:
        print(f"game_speech: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
