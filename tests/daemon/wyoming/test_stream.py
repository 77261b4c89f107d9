"""One satellite's stream: it hears the words that it chose as a detector of these words alone hears them."""

from __future__ import annotations

from itertools import combinations

import pytest

from daemon.audio.pcm import PcmFormat
from daemon.wyoming.stream import AudioStreamSession, WordSet
from model.detector import Detector
from model.frontend import SAMPLE_RATE
from tests.support.examples import bursts, random_model

# of two front ends, which do not lie side by side
MODELS = [random_model("tok", seed=0), random_model("pling", seed=1, scaling="log"), random_model("zap", seed=2)]
PCM = PcmFormat(SAMPLE_RATE, 2, 1)
SOUND = bursts(6)
CHOICES = [names for count in (1, 2, 3) for names in combinations(["tok", "pling", "zap"], count)]


@pytest.fixture(scope="module")
def vocabulary() -> WordSet:
    return WordSet(MODELS)


@pytest.mark.parametrize("names", [None, *CHOICES])
def test_whatever_it_chose_it_hears_as_if_there_were_no_other_words(vocabulary, names):
    satellite = AudioStreamSession(vocabulary)
    satellite.choose(names)
    satellite.start(PCM)
    heard = [*satellite.push(SOUND.tobytes(), PCM), *satellite.stop()]
    detector = Detector([model for model in MODELS if names is None or model.word in names])
    expected = [*detector.push(SOUND), *detector.conclude()]
    assert [(each.word, each.sample) for each in heard] == [(each.word, each.sample) for each in expected]
    assert [each.score for each in heard] == pytest.approx([each.score for each in expected], abs=1e-5)
    assert heard


def test_streams_share_the_weights_and_the_order_of_names_is_all_one(vocabulary):
    def networks(*names: str) -> set[int]:
        spotter = vocabulary.spotter(names or None)
        assert spotter is not None
        return {id(network) for network, _ in spotter.scorer._networks}

    assert networks() == networks() == networks("zap", "tok", "pling", "unknown")
    assert networks("zap", "tok") == networks("tok", "zap") == networks("tok") | networks("zap")
    assert vocabulary.spotter(["unknown"]) is None


def test_other_words_are_heard_from_the_next_sound_on():
    vocabulary = WordSet(MODELS[:1])
    satellite = AudioStreamSession(vocabulary)
    satellite.start(PCM)
    half = len(SOUND) // 2 * 2
    satellite.push(SOUND.tobytes()[:half], PCM)
    vocabulary.replace(MODELS[2:])
    later = [*satellite.push(SOUND.tobytes()[half:], PCM), *satellite.stop()]
    detector = Detector(MODELS[2:])
    after = SOUND[half // 2 :]
    expected = [each.sample + half // 2 for each in [*detector.push(after), *detector.conclude()]]
    assert [(each.word, each.sample) for each in later] == [("zap", sample) for sample in expected]
    assert later
