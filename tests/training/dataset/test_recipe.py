"""A recipe is a YAML file whose every mistake is reported with its line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.dataset import recipe
from training.dataset.recipe import ExampleRecipe
from training.utils.errors import TrainingError

GOOD = """\
positives: [0, 4]
negatives: 2
background:
  snr_db: [0, 20]
level_dbfs: [-30, -20]
voice:
  share: 0.5
  speed: 1
  pitch_semitones: [-2, 2]
  formants: [0.9, 1.1]
"""


def load_text(tmp_path, text: str) -> ExampleRecipe:
    (tmp_path / "mine.yaml").write_text(text)
    return recipe.load(str(tmp_path / "mine.yaml"))


def test_the_default_is_the_assignments_example() -> None:
    found = recipe.load("assignment")
    assert found.as_dict() == {
        "positives": [0, 4],
        "negatives": [0, 2],
        "background": {"gain_db": [-20.0, -20.0]},
        "level_dbfs": [-20.0, -20.0],
    }


def test_the_full_one_does_everything() -> None:
    found = recipe.load("full").as_dict()
    assert set(found) == set(ExampleRecipe.__dataclass_fields__)


def test_a_range_may_be_one_number(tmp_path) -> None:
    found = load_text(tmp_path, GOOD)
    assert (found.negatives, found.positives) == ((2, 2), (0, 4))
    assert found.voice is not None
    assert found.voice.speed == (1.0, 1.0)
    assert found.background.voice_db == (0.0, 0.0)


@pytest.mark.parametrize("name", recipe.names())
def test_a_recipe_survives_its_own_description(name) -> None:
    found = recipe.load(name)
    assert ExampleRecipe.from_dict(found.as_dict(), "copy") == found


@pytest.mark.parametrize(
    ("old", "new", "line", "complaint"),
    [
        ("level_dbfs:", "level_dbf:", 5, "level_dbf: unknown key; did you mean 'level_dbfs'?"),
        ("  speed: 1", "  sped: 1", 8, "voice.sped: unknown key; did you mean 'speed'?"),
        ("  speed: 1", "  speed: fast", 8, "voice.speed: a number is needed, not text ('fast')"),
        ("  speed: 1", "  speed: true", 8, "voice.speed: a number is needed, not true or false (True)"),
        ("  speed: 1", "  speed: {a: 1}", 8, "voice.speed: a number is needed, not a mapping"),
        ("  speed: 1", "  speed: 3", 8, "voice.speed: 3 is outside 0.5 to 2"),
        ("  speed: 1", "  speed: .nan", 8, "voice.speed: nan is outside 0.5 to 2"),
        ("  speed: 1", "  speed: [1.2, 0.8]", 8, "voice.speed: two numbers are needed, the lower one first"),
        ("  speed: 1", "  speed: [1, 1.1, 1.2]", 8, "voice.speed: two numbers are needed, the lower one first"),
        ("  speed: 1\n", "", 7, "voice: 'speed' is missing"),
        ("  share: 0.5", "  share: 50", 7, "voice.share: 50 is outside 0 to 1"),
        ("[0, 4]", "[0, 4.5]", 1, "positives[1]: a whole number is needed, not a number (4.5)"),
        ("[0, 4]", "[0, 400]", 1, "positives[1]: 400 is outside 0 to 20"),
        ("negatives: 2\n", "", 1, "'negatives' is missing"),
        ("negatives: 2", "positives: 2", 2, "positives: this key stands here twice"),
        ("  snr_db: [0, 20]", "  snr_db: 3\n  gain_db: 3", 4, "background: one of 'gain_db' and 'snr_db' is needed"),
        ("  snr_db: [0, 20]", "  gain_db: 3\n  voice_db: 1", 4, "background: 'voice_db' goes with 'snr_db' alone"),
        ("  snr_db: [0, 20]", "  - 3", 4, "background: a mapping (`key: value`) is needed, not a list"),
        ("  speed: 1", "  speed: [1", 9, "not valid YAML"),
    ],
)
def test_a_mistake_is_reported_with_file_line_and_suggestion(tmp_path, old, new, line, complaint) -> None:
    with pytest.raises(TrainingError) as caught:
        load_text(tmp_path, GOOD.replace(old, new))
    assert str(caught.value).startswith(f"{tmp_path}/mine.yaml:{line}: {complaint}")


def test_codecs_are_known_by_name(tmp_path) -> None:
    text = GOOD + "codec: {share: 1, kinds: [opsu], opus_kbps: 9, mp3_kbps: 16}\n"
    with pytest.raises(TrainingError, match=r":11: codec.kinds\[0\]: 'opsu' is not known; did you mean 'opus'?"):
        load_text(tmp_path, text)


def test_excerpts_that_would_not_fit_when_played_slowly_are_refused(tmp_path) -> None:
    text = GOOD.replace("speed: 1", "speed: [0.5, 1]") + "excerpt_seconds: [1, 6]\n"
    with pytest.raises(TrainingError, match=r"excerpts of 6 s at speed 0.5 do not fit"):
        load_text(tmp_path, text)


def test_an_unknown_name_and_a_missing_file_are_one_sentence(tmp_path) -> None:
    with pytest.raises(TrainingError, match=r"there is no recipe 'asignment'; did you mean 'assignment'?"):
        recipe.load("asignment")
    with pytest.raises(TrainingError, match="No such file"):
        recipe.load(str(tmp_path / "none.yaml"))
    with pytest.raises(TrainingError, match="'positives', 'negatives', 'background', 'level_dbfs' is missing"):
        load_text(tmp_path, "# only this\n")


@given(st.text(max_size=200) | st.text("[]{}:,-&*!|>'\"%@` \nab1", max_size=60))
def test_any_other_text_is_refused_with_a_sentence(text) -> None:
    with pytest.raises(TrainingError, match=r"^mine.yaml:"):
        recipe.read(recipe.parse(text, Path("mine.yaml")))
