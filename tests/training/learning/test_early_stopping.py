"""When a training stops: words heard at a wished rate of false accepts, over several measurements."""

import pytest

from training.learning.early_stopping import EarlyStopping, StoppingProgress, score


def entry(speech: list[float], noise: list[float], *recalls: list[float]) -> dict:
    return {
        "thresholds": [0.2, 0.5, 0.8],
        "speech_fa_per_hour": speech,
        "noise_fa_per_hour": noise,
        "recall": {str(number): shares for number, shares in enumerate(recalls)},
    }


def test_the_score_is_the_recall_where_nothing_fires_more_often_than_wished() -> None:
    assert score(entry([9, 2, 0], [0, 0, 0], [1.0, 0.8, 0.4], [0.9, 0.6, 0.2]), 2.0) == 0.7
    assert score(entry([9, 2, 0], [0, 5, 0], [1.0, 0.8, 0.4], [0.9, 0.6, 0.2]), 2.0) == pytest.approx(0.3)
    assert score(entry([1, 1, 1], [0, 0, 0], [1.0, 0.8, 0.4]), 2.0) == 1.0
    assert score(entry([0, 3, 0], [0, 0, 0], [1.0, 0.8, 0.4]), 2.0) == 0.4  # 0.2 keeps to it by chance


def test_a_training_that_always_fires_or_has_no_words_scores_nothing() -> None:
    assert score(entry([9, 9, 9], [0, 0, 0], [1.0, 1.0, 1.0]), 2.0) == 0.0
    assert score(entry([0, 0, 0], [0, 0, 0]), 2.0) == 0.0


def test_patience_counts_measurements_without_a_better_score() -> None:
    progress = StoppingProgress()
    for number, (measured, kept, since) in enumerate([(0.5, True, 0), (0.5, True, 1), (0.4, False, 2), (0.6, True, 0)]):
        assert progress.keeps(measured) == kept, number
        progress = progress.after(measured)
        assert progress.since == since, number
    assert progress == StoppingProgress(0.6, 0)


def test_minutes_of_speech_judge_nothing() -> None:
    assert not EarlyStopping(fa_per_hour=2.0).can_judge({"speech_hours": 0.2})
    assert EarlyStopping(fa_per_hour=2.0).can_judge({"speech_hours": 0.3})
