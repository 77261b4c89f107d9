"""Speech and music out of Debian packages: which there are, what is written, and one real package."""

import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from training.corpora.corpus import load
from training.corpora.download_debian import PACKAGES, Package, SpokenLine, chosen, fetch, write
from training.corpora.transcripts import transcripts
from training.utils.errors import TrainingError

pytestmark = pytest.mark.slow


def test_warzone_gets_the_texts_that_its_list_of_sounds_remarks(tmp_path) -> None:
    sound = io.BytesIO()
    sf.write(sound, np.sin(np.arange(8000) / 9), 16_000, format="OGG")
    names = ("memressp/research/pcv361", "memressp/research/pcv362", "beep1", "multi/gift")
    game = tmp_path / "usr/share/games/warzone2100"
    game.mkdir(parents=True)
    with zipfile.ZipFile(game / "base.wz", "w") as archive:
        archive.writestr(
            "audio/audio.cfg",
            '\taudio\t"beep1.ogg"\toneshot  30 1800\t/*Select*/\n\taudio "gift.ogg" oneshot 100 1800\n'
            '\taudio\t"pcv361.ogg"  \toneshot\t100 1800  /*Computer Research Completed*/\n'
            '\taudio\t"pcv362.ogg"  \toneshot\t100 1800  /*Power Research Completed*/\n',
        )
        for name in names:
            archive.writestr(f"audio/{name}.ogg", sound.getvalue())
        archive.writestr("sequenceaudio/res_com.ogg", sound.getvalue())  # its text is in no file, and has the word
    [package] = chosen(["warzone2100-data"])
    assert {line.name: line.text for line in package.lines(tmp_path)} == {
        "audio-memressp-research-pcv361": "Computer Research Completed",
        "audio-memressp-research-pcv362": "Power Research Completed",
        "audio-multi-gift": "",
    }


def test_what_is_written_is_what_the_training_reads(tmp_path) -> None:
    tone = np.sin(np.arange(11_025) / 20).astype(np.float32) / 2
    lines = [
        SpokenLine("a", tone, 11_025, "Tell me\tabout it"),
        SpokenLine("b", tone, 16_000),
        SpokenLine("short", tone[:900], 11_025),
    ]
    assert write(iter(lines), tmp_path, "lines") == 2
    corpus = load([tmp_path], tmp_path / "cache", "speech")
    assert {Path(clip.path).stem: round(clip.length / 44_100, 1) for clip in corpus.clips} == {"a": 1.0, "b": 0.7}
    assert [(path.stem, text) for path, _, text in transcripts(tmp_path)] == [("a", "Tell me about it")]


def test_packages_are_chosen_by_name_and_the_usual_ones_else() -> None:
    assert {package.name for package in chosen([])} == {package.name for package in PACKAGES if package.usual}
    assert [package.name for package in chosen(["klettres-data"])] == ["klettres-data"]
    with pytest.raises(TrainingError, match="nosuch: not one of the packages"):
        chosen(["nosuch"])


def test_a_package_that_cannot_be_had_leaves_nothing_behind(tmp_path) -> None:
    if not shutil.which("apt-get"):
        pytest.skip("no apt-get")
    package = Package("no-such-package-anywhere", "speech", 1, "", lambda _: iter(()))
    with pytest.raises(TrainingError, match="no-such-package-anywhere could not be downloaded: "):
        fetch(package, tmp_path)
    assert list((tmp_path / "speech").iterdir()) == []


@pytest.mark.timeout(900)
def test_a_real_package_becomes_speech(tmp_path, monkeypatch) -> None:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip("no apt-get or dpkg-deb")
    monkeypatch.chdir(tmp_path)
    try:
        folder = fetch(chosen(["ktuberling-data"])[0], Path("sounds"))
    except TrainingError as error:
        if "could not be downloaded" not in str(error):
            raise
        pytest.skip(str(error))
    assert len(list(folder.glob("*.flac"))) >= 1800
    assert (folder / "copyright").exists()
    assert fetch(chosen(["ktuberling-data"])[0], Path("sounds")) == folder  # what is there is kept
