"""Packed bytes in, what was packed out: Rob Northen's compression, method 1, in which old games keep their files.

Runs of plain bytes alternate with copies of earlier ones. How long each is and how far back a copy begins are bits
between the runs, in Huffman codes that every chunk of a file has anew. Words of 16 bits, the least significant first.
"""

from __future__ import annotations

import struct

MAGIC = b"RNC\x01"
_HEADER = struct.Struct(">4sIIHHBB")  # magic, sizes unpacked and packed, their checksums, spare bytes, chunks
_PLAIN, _BACK, _LENGTH = range(3)  # the codes of a chunk: plain bytes, distance of a copy, its length
_NEAREST, _SHORTEST = 1, 2  # what is added to a distance and a length


def unpack(packed: bytes) -> bytes:
    """What was packed. Raises ValueError: not packed by this method, or damaged."""
    try:
        magic, size, length, checksum, _, _, chunks = _HEADER.unpack_from(packed)
        if magic != MAGIC:
            raise ValueError("not packed by method 1 of RNC")
        unpacked = _Reader(packed[_HEADER.size :][:length]).chunks(chunks)
    except (struct.error, IndexError) as error:
        raise ValueError("the packed file ends early") from error
    if len(unpacked) != size or _checksum(unpacked) != checksum:
        raise ValueError("the packed file is damaged")
    return unpacked


class _Reader:
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
