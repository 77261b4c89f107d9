"""A file is written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.utils.atomic_write import atomic_write


def test_the_file_is_what_was_written_and_nothing_else_is_left(tmp_path: Path) -> None:
    file = tmp_path / "notes.json"
    for text in ("first", "second"):
        with atomic_write(file) as partial:
            partial.write_text(text)
        assert file.read_text() == text
        assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("failure", [OSError("no space left"), KeyboardInterrupt()])
def test_what_was_there_stays_while_it_is_written_and_if_that_fails(tmp_path: Path, failure: BaseException) -> None:
    file = tmp_path / "notes.json"
    file.write_text("before")

    def write() -> None:
        with atomic_write(file) as partial:
            partial.write_text("half")
            assert file.read_text() == "before"
            raise failure

    with pytest.raises(type(failure)):
        write()
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]
