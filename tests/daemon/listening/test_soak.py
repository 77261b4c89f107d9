"""Five minutes of what `make soak` does for a day."""

from __future__ import annotations

import pytest

from model.modelfile import shipped
from tests.bench import soak

pytestmark = pytest.mark.integration


def test_after_five_minutes_memory_is_flat_and_every_sample_was_heard():
    if not soak.WORDS.exists() or not shipped():
        pytest.skip("the shipped model or the recording is not here yet")
    report = soak.fast(300, say=lambda _line: None)
    assert report.wrong == []
