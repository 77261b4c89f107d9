"""Blocks of a quiet room wait for each other; a word never does, and nothing but the moment of hearing changes."""

from __future__ import annotations

import json
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.audio.capture_queue import CaptureQueue
from daemon.audio.sources import Block
from daemon.audio.wakeup_batching import AWAKE, HELD, STRETCH, WakeupBatching, loudness
from daemon.listening.listener import Listener
from model.detector import Detector
from model.frontend import FRAME, SAMPLE_RATE, Samples
from model.modelfile import load, shipped
from tests.support.chimed import recording, tone_model
from tests.support.paths import DATA

FINE, LATE = SimpleNamespace(input_overflow=False), SimpleNamespace(input_overflow=True)


def cut(samples: Samples, size: int = FRAME) -> list[Samples]:
    """Whole blocks."""
    return [samples[start : start + size] for start in range(0, len(samples) - size + 1, size)]


def handed_on(blocks: list[Samples], patience: WakeupBatching | None = None) -> list[bool]:
    """Of each block, whether it and what waited were handed on."""
    patience = patience or WakeupBatching()
    return [patience.push(block) for block in blocks]


def noise(seconds: float, rms: float = 20, rate: int = SAMPLE_RATE) -> Samples:
    """A steady room."""
    return np.random.default_rng(0).normal(0, rms, round(seconds * rate)).astype(np.int16)


def test_after_a_second_the_blocks_of_a_quiet_room_come_in_fours():
    assert handed_on(cut(recording(6, [])))[: AWAKE + 2 * HELD] == [True] * AWAKE + ([False] * (HELD - 1) + [True]) * 2
    assert sum(handed_on(cut(noise(60)))) < 300  # of 751; 188 would be a fourth


def test_a_loud_block_and_those_of_the_next_second_do_not_wait():
    room = cut(noise(5))
    heard = handed_on([*room, 3 * room[0], *room])
    loud = len(room)
    assert not all(heard[:loud])
    assert heard[loud : loud + AWAKE] == [True] * AWAKE
    assert False in heard[loud + AWAKE :][:HELD]


@pytest.mark.parametrize(
    ("room", "rms"), [("hiss", 10), ("hiss", 150), ("rumble", 1_500), ("offset", 10), ("nothing", 0)]
)
def test_whoever_says_the_word_in_a_quiet_room_is_heard_at_once(room, rms):
    """Whatever the room sounds like: each word's decision falls in a block that does not wait."""
    model = load(shipped()["activate"])
    speech, _ = soundfile.read(DATA / "activate-demo.flac", dtype="float64")
    speech *= 32_768
    told = json.loads((DATA / "activate-demo.json").read_text())
    said = [each for each in told["said"] if each["text"] == told["word"]]
    alone = np.zeros((len(said) * 8 + 1) * SAMPLE_RATE)
    for place, each in enumerate(said):  # each after 6 s of the room
        first, last = (round(each[name] * SAMPLE_RATE) for name in ("start", "end"))
        at = round((6 + 8 * place) * SAMPLE_RATE)
        alone[at : at + last - first] = speech[first:last]
    steady = np.random.default_rng(1).normal(0, 1, len(alone))
    if room == "rumble":
        steady = np.cumsum(steady)
        steady -= np.convolve(steady, np.full(4_000, 1 / 4_000), "same")
        steady /= steady.std()
    sound = np.rint(alone + rms * steady + (3_000 if room == "offset" else 0)).clip(-32_768, 32_767).astype(np.int16)
    patience, detector, words, waited = WakeupBatching(), Detector([model]), 0, 0
    for block in cut(sound):
        now = patience.push(block)
        waited += not now
        found = detector.push(block)
        assert now or not found
        words += len(found)
    assert words == len(said)
    assert waited > len(sound) / FRAME / 5


def test_who_hurries_sees_the_next_second_at_once():
    patience = WakeupBatching()
    room = cut(noise(5))
    handed_on(room, patience)
    patience.hurry()
    heard = handed_on(room, patience)
    assert heard[:AWAKE] == [True] * AWAKE
    assert not all(heard)


def test_a_room_that_has_become_louder_is_waited_in_again_after_ten_seconds():
    quiet, loud = cut(noise(20, 20)), cut(noise(40, 200))
    heard = handed_on(quiet + loud)
    assert all(heard[len(quiet) : len(quiet) + STRETCH])
    assert sum(heard[len(quiet) + 2 * STRETCH + AWAKE :]) < len(loud) / 2


def test_zeros_wait_and_the_first_sound_after_them_does_not():
    zeros = [np.zeros(FRAME, np.int16)] * 40
    click = np.zeros(FRAME, np.int16)
    click[100] = 1
    heard = handed_on([*zeros, click])
    assert sum(heard) == AWAKE + (40 - AWAKE) // HELD + 1
    assert heard[-1]


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000, 192_000])
def test_at_any_rate_a_voice_is_louder_than_rumble(rate):
    time = np.arange(round(0.08 * rate)) / rate
    rumble, voice = (np.rint(3_000 * np.sin(2 * np.pi * hz * time)).astype(np.int16) for hz in (30, 800))
    assert loudness(voice) > 100 * loudness(rumble)
    assert loudness(rumble + np.int16(9_000)) == pytest.approx(loudness(rumble), rel=0.01)
    room = cut(noise(30, rate=rate), len(time))
    assert sum(handed_on(room)) < len(room) / 2


@given(st.lists(st.integers(0, 50) | st.just(FRAME), max_size=60), st.sampled_from([0, 1, 32_767, -32_768]))
@settings(max_examples=50)
def test_blocks_of_any_size_and_level_never_wait_for_more_than_three(sizes, value):
    heard = handed_on([np.full(size, value, np.int16) for size in sizes])
    assert all(any(heard[first : first + HELD]) for first in range(len(heard) - HELD + 1))


# in the inbox


def test_what_waited_gives_the_very_same_posteriors_and_detections():
    """Blocks are taken out when the bell rings, as by the loop, and scored in bursts."""
    model = tone_model()
    sound = recording(30, [9.0, 15.5, 24.2])
    blocks = cut(sound)
    inbox, together, alone = CaptureQueue(1000), *(Listener(Detector([model]), {"beep": 0}) for _ in range(2))
    bursts, heard, expected = [], [], []
    for block in blocks:
        expected += alone.push(Block(block))
        inbox.callback(block[:, None], len(block), None, FINE)
        if inbox.ringing:
            bursts.append(len(inbox))
            while (captured := inbox.get(0)) is not None:
                heard += together.push(Block(captured.samples))
    while (captured := inbox.get(0)) is not None:
        heard += together.push(Block(captured.samples))
    assert max(bursts) == HELD
    assert len(bursts) < len(blocks) / 2
    assert heard == expected
    assert len(heard) == 3
    for ring in ("samples", "columns", "posteriors"):
        known = getattr(alone.detector, ring).last()
        assert getattr(together.detector, ring).last().tobytes() == known.tobytes()


def test_a_full_inbox_drops_the_block_and_marks_the_gap():
    inbox = CaptureQueue(2)
    stereo = np.array([[1, -1], [2, -2]], np.int16)
    for status in (FINE, LATE, FINE):
        inbox.callback(stereo, 2, None, status)
    assert [inbox.get(0)[1:] for _ in range(2)] == [(False, 0), (True, 0)]
    inbox.callback(stereo, 2, None, FINE)
    inbox.callback(stereo, 2, None, FINE)
    samples, lost, dropped = inbox.get(0)
    assert samples.tolist() == [1, 2]  # the first channel
    assert (lost, dropped) == (True, 1)  # the third block found no room
    assert inbox.get(0)[1:] == (False, 0)


def test_the_loop_sleeps_until_four_blocks_wait_and_wakes_when_the_stream_ends():
    inbox = CaptureQueue(100)
    room = cut(noise(10))[: AWAKE + 4 * HELD]
    for block in room[:AWAKE]:
        inbox.callback(block[:, None], FRAME, None, FINE)
    taken: list[int] = []

    def loop() -> None:
        while inbox.get(60) is not None:
            taken.append(len(inbox))

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    while len(taken) < AWAKE:
        time.sleep(0.01)
    for first in range(AWAKE, len(room), HELD):
        for block in room[first : first + HELD]:
            inbox.callback(block[:, None], FRAME, None, FINE)
        while len(taken) < first + HELD:
            time.sleep(0.01)
    inbox.finish()
    thread.join(30)
    assert not thread.is_alive()
    assert len(taken) == len(room)


def test_a_bell_for_a_block_that_was_taken_before_is_not_the_end_of_the_wait():
    inbox = CaptureQueue(10)
    inbox.callback(np.ones((FRAME, 1), np.int16), FRAME, None, FINE)
    inbox.callback(np.ones((FRAME, 1), np.int16), FRAME, None, FINE)
    assert inbox.get(0) is not None
    assert inbox.get(0) is not None
    begin = time.monotonic()
    assert inbox.get(0.2) is None
    assert time.monotonic() - begin >= 0.2
    assert not inbox.ringing


def test_blocks_that_wait_when_the_sound_stops_are_heard():
    inbox = CaptureQueue(100)
    room = cut(noise(10))[: AWAKE + 2]
    for block in room:
        inbox.callback(block[:, None], FRAME, None, FINE)
    got = [inbox.get(0) for _ in room]
    assert all(np.array_equal(captured.samples, block) for captured, block in zip(got, room, strict=True))
    inbox.finish()
    assert inbox.get(60) is None
