"""What is drawn for a scene, and from which range."""

from __future__ import annotations

from dataclasses import dataclass

Range = tuple[float, float]


@dataclass(frozen=True)
class SceneRecipe:
    """What is drawn, from which range; probabilities lie between 0 and 1."""

    scene_seconds: Range = (4.0, 12.0)
    noise_only: float = 0.15  # share of scenes without any speech
    # shares of the events in a scene with speech, in the order: the word, its first part alone, synthetic
    # negatives, real speech, pieces of one speaker's real speech joined at random. The latter, so that
    # a cut between two sounds is nothing that only a word has
    events: tuple[float, float, float, float, float] = (0.33, 0.04, 0.19, 0.34, 0.1)
    tight: float = 0.35  # share of events that follow the last one without a pause
    tight_seconds: Range = (0.0, 0.08)
    pause_seconds: Range = (0.15, 1.5)
    excerpt_seconds: Range = (0.6, 3.0)  # of a long recording
    near: float = 0.0  # share of the real speech that is drawn from the material's near moments
    near_seconds: Range = (0.0, 0.6)  # from such a moment to the end of the excerpt
    first_part: Range = (0.3, 0.75)  # of the word's duration
    pieces: tuple[int, int] = (2, 6)  # of real speech in a random join
    piece_seconds: Range = (0.06, 0.35)
    join_seconds: Range = (0.002, 0.012)  # of a cross-fade
    synthetic_speed: Range = (0.78, 1.28)  # resampling: pitch, formants and tempo together
    real_speed: Range = (0.9, 1.12)
    speech_dbfs: Range = (-45.0, -14.0)  # of a scene
    event_db: Range = (-4.0, 4.0)  # of an event against its scene
    # share of events recorded in a noise of their own, which begins and ends a little around them: as real
    # recordings have, so that a floor that jumps does not tell them from synthetic ones
    own_noise: float = 0.5
    own_noise_seconds: Range = (0.0, 0.25)
    own_snr_db: Range = (15.0, 50.0)
    # of the noises of no place, in their own noise and behind whole scenes, so many are the sound of a room in which
    # somebody was recorded
    room_tone: float = 0.67
    snr_db: Range = (-2.0, 40.0)
    clean: float = 0.2  # share of speech scenes with next to no noise
    noise_dbfs: Range = (-65.0, -18.0)  # of a scene without speech
    babble: float = 0.15  # share of speech scenes with someone else talking below
    babble_snr_db: Range = (4.0, 20.0)
    room: float = 0.6  # share of speech scenes in a reverberant room
    rt60_seconds: Range = (0.1, 0.6)
    direct_db: Range = (-2.0, 14.0)  # direct sound against reverberation
    equaliser_db: float = 7.0  # standard deviation of the microphone's response
    low_pass: float = 0.2  # share of scenes through a telephone or a cheap microphone
    low_pass_hz: Range = (3000.0, 7500.0)
    overdrive: float = 0.04  # share of scenes that clip
    # of a stream, whose frequency axis is stretched by so much: vocal tracts of other lengths at the same tempo (Jaitly
    # and Hinton, "Vocal tract length perturbation improves speech recognition", 2013)
    vocal_tract: Range = (0.87, 1.15)
    # of a stream, under the logarithm (`model.frontend.LogScaling`): on what lies near it nothing may depend
    floor_db: Range = (12.0, 27.0)
