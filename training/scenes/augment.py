"""What a microphone makes of a scene, transform by transform: babble, room, noise, microphone, overdrive.

Each transform is a method with a name, and `scenes.Scenes` applies them in their order. All are ours, since the same
seed has to give the same bytes on every machine.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import oaconvolve

from model.frontend import SAMPLE_RATE, FloatArray
from training.dsp.decode import Int16Array
from training.scenes.draw import Draw
from training.scenes.recipe import SceneRecipe

NEARLY_CLEAN_DB = 50.0  # signal-to-noise ratio of a scene with next to no noise


def decibel(db: float) -> float:
    """A gain in dB as a factor of amplitude."""
    return float(10 ** (db / 20))


def fade(samples: FloatArray, fade_in: int, fade_out: int) -> None:
    """Fade in over so many samples at the beginning and out at the end, or over half of them all, in place."""
    fade_in, fade_out = (min(fade, len(samples) // (2 if fade_in and fade_out else 1)) for fade in (fade_in, fade_out))
    samples[:fade_in] *= np.linspace(0, 1, fade_in, dtype=np.float32)
    samples[len(samples) - fade_out :] *= np.linspace(1, 0, fade_out, dtype=np.float32)


def stretch(samples: FloatArray, speed: float) -> FloatArray:
    """Play faster or slower, pitch and formants included. Linear interpolation: the voice is far below Nyquist."""
    positions = np.arange(0, len(samples) - 1, speed)
    played: FloatArray = np.interp(positions, np.arange(len(samples)), samples).astype(np.float32)
    return played


def room_response(rt60: float, direct_db: float, rng: np.random.Generator) -> FloatArray:
    """A synthetic room: the direct sound, then noise that decays by 60 dB in `rt60` seconds, darker as it does."""
    length = int(rt60 * SAMPLE_RATE)
    decay = np.exp(-6.9 * np.arange(length) / length)
    tail = rng.standard_normal(length).astype(np.float32) * decay
    tail[: int(0.002 * SAMPLE_RATE)] = 0.0  # the first reflection comes later
    tail[1:] = 0.6 * tail[1:] + 0.4 * tail[:-1]
    tail *= decibel(-direct_db) / max(float(np.sqrt(np.sum(tail**2))), 1e-9)
    tail[0] = 1.0
    return tail.astype(np.float32)


def microphone_response(spread_db: float, low_pass_hz: float | None, rng: np.random.Generator) -> FloatArray:
    """A short filter with a smooth random response: +-`spread_db` about every octave, perhaps without treble."""
    taps = 512
    frequency = np.fft.rfftfreq(taps, 1 / SAMPLE_RATE)
    knots = np.array([0.0, 60, 125, 250, 500, 1000, 2000, 4000, 8000, SAMPLE_RATE / 2])
    gain_db = np.interp(frequency, knots, rng.normal(0, spread_db, len(knots)))
    if low_pass_hz is not None:
        gain_db -= 30 * np.log2(np.maximum(frequency / low_pass_hz, 1))
    response = np.fft.irfft(10 ** (gain_db / 20))
    # made causal and short: the zero-phase response, centred and windowed
    return (np.roll(response, taps // 2) * np.hanning(taps)).astype(np.float32)


def coloured_noises(rng: np.random.Generator, seconds: int = 30) -> list[FloatArray]:
    """Noises of no place: white to brown, and mains hum; each with a root mean square of one."""
    length = seconds * SAMPLE_RATE
    frequency = np.maximum(np.fft.rfftfreq(length, 1 / SAMPLE_RATE), 20.0)
    noises = []
    for slope in (0.0, 0.5, 1.0, 1.5, 2.0):
        spectrum = np.fft.rfft(rng.standard_normal(length)) * frequency ** (-slope / 2)
        noises.append(np.fft.irfft(spectrum, length))
    t = np.arange(length) / SAMPLE_RATE
    for mains in (50.0, 60.0):
        hum = sum(np.sin(2 * np.pi * mains * k * t + rng.uniform(0, 6)) * rng.uniform(0, 1) / k for k in range(1, 12))
        noises.append(hum + 0.01 * rng.standard_normal(length))
    return [(noise / np.sqrt(np.mean(noise**2))).astype(np.float32) for noise in noises]


class Augmenter:
    """The transforms of one scene, drawn as a recipe says.

    length: samples of the scene. The microphone is drawn at once, before the scene is made.
    """

    def __init__(self, recipe: SceneRecipe, draw: Draw, length: int) -> None:
        self._recipe = recipe
        self._draw = draw
        self._length = length
        low_pass = draw.between(recipe.low_pass_hz) if draw.chance(recipe.low_pass) else None
        self._microphone = microphone_response(recipe.equaliser_db, low_pass, draw.rng)

    def wants_babble(self) -> bool:
        """Whether somebody else talks below the speech."""
        return self._draw.chance(self._recipe.babble)

    def babble(self, voice: FloatArray, other: Int16Array) -> FloatArray:
        """Somebody else talks below the voice, at a drawn ratio."""
        under = np.take(other, np.arange(self._length), mode="wrap").astype(np.float32)
        under /= max(float(np.sqrt(np.mean(under**2))), 1.0)
        voice += under * decibel(-self._draw.between(self._recipe.babble_snr_db))
        return voice

    def room(self, voice: FloatArray) -> FloatArray:
        """The voice in a room that reverberates, or in none."""
        recipe, draw = self._recipe, self._draw
        if not draw.chance(recipe.room):
            return voice
        response = room_response(draw.between(recipe.rt60_seconds), draw.between(recipe.direct_db), draw.rng)
        reverberant: FloatArray = oaconvolve(voice, response)[: self._length]
        return reverberant

    def noise(self, voice: FloatArray, noise: FloatArray) -> FloatArray:
        """Noise below the voice; the signal-to-noise ratio is drawn here."""
        clean = self._draw.chance(self._recipe.clean)
        snr_db = NEARLY_CLEAN_DB if clean else self._draw.between(self._recipe.snr_db)
        return voice + noise * decibel(-snr_db)

    def microphone(self, scene: FloatArray) -> FloatArray:
        """All of it through the scene's microphone."""
        response = self._microphone
        heard: FloatArray = oaconvolve(scene, response)[len(response) // 2 :][: self._length]
        return heard

    def overdrive(self, scene: FloatArray, level_db: float) -> FloatArray:
        """Perhaps so loud that it clips; level_db: how loud it is."""
        if self._draw.chance(self._recipe.overdrive):
            scene *= decibel(-level_db + self._draw.between((0.0, 6.0)))
        return scene
