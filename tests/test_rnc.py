"""RNC's method 1: what a packer of the test's own packs comes out again, and damage is noticed."""

import struct

import numpy as np
import pytest

from training.rnc import MAGIC, _checksum, unpack

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


def _pack(chunks: list[list[tuple[bytes, int, int]]]) -> tuple[bytes, bytes]:
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
    head = struct.pack(">4sIIHHBB", MAGIC, len(whole), len(packed), _checksum(whole), 0, 0, len(chunks))
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
        packed, whole = _pack(chunks)
        assert unpack(packed) == whole
        assert unpack(packed + b"more behind it") == whole


def test_the_checksum_is_the_usual_crc_16() -> None:
    assert _checksum(b"123456789") == 0xBB3D  # the check value of CRC-16/ARC


def test_damage_is_a_sentence() -> None:
    packed, _ = _pack([_chunk(np.random.default_rng(4), 0)[0]])
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
