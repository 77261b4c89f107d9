"""The chime: how it sounds, the user's own, and that nothing about playing it can stop the listening."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import soundfile

from daemon.audio.calls_with_deadline import CallsWithDeadline
from daemon.audio.resample import Samples
from daemon.responses.chime import DURATION, LONGEST, NOTES, ChimePlayer, load, synthesise
from daemon.system.errors import AudioError
from model.frontend import FULL_SCALE, SAMPLE_RATE


class Loudspeaker:
    """Stands for PortAudio: `play` ends when it is told to, or fails."""

    def __init__(self, failure: str = "") -> None:
        self.played: list[Samples] = []
        self.end = threading.Event()
        self.failure = failure

    def play(self, samples: Samples) -> None:
        self.played.append(samples)
        if self.failure:
            raise AudioError(self.failure)
        assert self.end.wait(30)


def test_it_is_two_notes_one_after_the_other_and_neither_clicks_nor_clips():
    chime = synthesise()
    assert chime.dtype == np.int16
    assert len(chime) == round(DURATION * SAMPLE_RATE)
    assert np.abs(chime.astype(int)).max() / FULL_SCALE == pytest.approx(10 ** (-12 / 20), rel=0.001)
    assert abs(int(chime[0])) <= 1
    assert np.abs(chime[-20:].astype(int)).max() <= 1
    for note, part in zip(NOTES, (chime[:4_500], chime[-8_000:]), strict=True):
        spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), SAMPLE_RATE))
        assert np.argmax(spectrum) == pytest.approx(note, abs=12)
    # its steepest step is that of a tone, not of a jump
    assert np.abs(np.diff(chime.astype(int))).max() < 0.5 * np.abs(chime.astype(int)).max()


def test_a_users_chime_may_have_any_format_and_is_cut_to_a_sensible_length(tmp_path):
    soundfile.write(tmp_path / "long.flac", np.ones((48_000 * 7, 2)) * 0.1, 48_000)
    chime = load(tmp_path / "long.flac")
    assert len(chime) == LONGEST * SAMPLE_RATE
    assert chime[SAMPLE_RATE] == pytest.approx(3_277, abs=2)


def test_a_users_chime_that_cannot_be_read_is_named(tmp_path):
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 48_000)
    with pytest.raises(AudioError, match=r"empty\.wav: it holds no sound"):
        load(tmp_path / "empty.wav")
    with pytest.raises(AudioError, match=r"none\.wav"):
        load(tmp_path / "none.wav")


def test_playing_does_not_block_and_a_second_chime_waits_for_no_one():
    speaker = Loudspeaker()
    player = ChimePlayer(speaker)
    assert not player.sounding
    player.play(synthesise())
    assert player.sounding
    player.play(synthesise())  # returns at once, and is dropped
    speaker.end.set()
    player.wait(30)
    assert not player.sounding
    assert len(speaker.played) == 1
    player.play(synthesise())
    player.wait(30)
    assert len(speaker.played) == 2


def test_a_chime_that_never_ends_counts_as_over(monkeypatch):
    """A sound server that hangs must not make the daemon deaf."""
    monkeypatch.setattr("daemon.responses.chime.CHIME_STUCK_SECONDS", 0.05)
    speaker = Loudspeaker()
    player = ChimePlayer(speaker)
    player.play(np.zeros(10, np.int16))
    while player.sounding:
        time.sleep(0.01)
    player.play(np.zeros(10, np.int16))  # starts no second thread that would hang too
    assert len(speaker.played) == 1
    speaker.end.set()
    player.wait(30)


def test_a_failure_is_said_once(caplog):
    player = ChimePlayer(Loudspeaker("no loudspeaker found"))
    for _ in range(3):
        player.play(synthesise())
        player.wait(30)
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "cannot play the chime: no loudspeaker found"
    ]


def test_a_call_that_hangs_is_given_up_and_so_is_every_further_one_until_it_returns():
    calls = CallsWithDeadline()
    end, discarded = threading.Event(), []

    def hang() -> str:
        end.wait(30)
        return "late"

    with pytest.raises(AudioError, match="did not answer"):
        calls.make(hang, 0.05, discarded.append)
    with pytest.raises(AudioError, match="does not answer"):
        calls.make(lambda: "in time", 30)
    end.set()
    assert calls.wait(30)
    assert discarded == ["late"]
    assert calls.make(lambda: "in time", 30) == "in time"


def test_what_a_call_raises_reaches_the_caller():
    with pytest.raises(ZeroDivisionError):
        CallsWithDeadline().make(lambda: 1 / 0, 30)
