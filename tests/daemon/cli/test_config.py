"""`chimed config`: what it prints is true, names its origin, and can be used as a configuration itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import soundfile

from daemon.cli.config import lines
from daemon.config import settings as config
from daemon.config.settings import Settings
from daemon.listening import listening_plan
from model import modelfile
from model.frontend import SAMPLE_RATE
from tests.daemon.config.test_settings import FULL
from tests.support.chimed import recording, tone_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two models and a sound."""
    for name, hz in (("beep", 3_000.0), ("boop", 2_000.0)):
        modelfile.save(tmp_path / f"{name}.npz", tone_model(name, hz))
    soundfile.write(tmp_path / "ping.wav", recording(0.1, []), SAMPLE_RATE)
    return tmp_path


def load(folder: Path, text: str) -> Settings:
    (folder / "config.yaml").write_text(text)
    return config.load(folder / "config.yaml")


def shown(settings: Settings) -> str:
    return "\n".join(lines(settings, listening_plan.load_models(settings.words)))


def meaning(settings: Settings) -> tuple[Settings, list[tuple[object, ...]]]:
    """All that matters of them: without places, and each word as it will be listened for."""
    models = listening_plan.load_models(settings.words)
    heard = [
        (
            word.model,
            model.threshold,
            model.smoothing,
            model.suppression,
            settings.chime if word.chime is None else word.chime,
            settings.hooks if word.hooks is None else word.hooks,
        )
        for word, model in zip(settings.words, models, strict=True)
    ]
    return dataclasses.replace(settings, words=()), heard


@pytest.mark.parametrize(
    "text",
    [
        FULL,
        "words: [{model: beep.npz}]",
        "words: [{model: beep.npz}]\naudio: {device: '3'}\nhooks: ['a: b # c', \"it's\", 'yes', '1', [x, 'é \"z\"']]",
    ],
)
def test_what_it_prints_means_the_same(folder, text):
    settings = load(folder, text)
    assert meaning(load(folder, shown(settings))) == meaning(settings)


def test_each_value_has_its_origin(folder):
    text = f"audio:\n  device: USB\nwords:\n- model: {folder}/beep.npz\n  smoothing: 3\nlog_level: debug\n"
    origins = {
        line.partition("#")[0].strip(): line.rpartition("# ")[2]
        for line in shown(listening_plan.with_overrides(load(folder, text), [], 0.7)).splitlines()
        if "#" in line
    }
    file = folder / "config.yaml"
    assert origins["device: USB"] == f"{file}:2"
    assert origins["channel: 1"] == "default"
    assert origins[f"- model: {folder}/beep.npz"] == f'{file}:4; the word is "beep"'
    assert origins["threshold: 0.7"] == "--threshold"
    assert origins["smoothing: 3"] == f"{file}:5"
    assert origins["suppression: 75"] == "the model file"
    assert origins["log_level: debug"] == f"{file}:6"


def test_the_command(call, folder, environment):
    (folder / "good.yaml").write_text("words: [{model: beep.npz, threshold: 0.25}]")
    (folder / "bad.yaml").write_text("words: [{model: beep.npz, treshold: 0.25}]")
    done = call("config", "--config", folder / "good.yaml")
    assert done.returncode == 0
    assert f"  threshold: 0.25{' ' * 29}# {folder}/good.yaml:1\n" in done.stdout
    done = call("config", "--check", folder / "good.yaml")
    assert (done.returncode, done.stdout) == (
        0,
        f'{folder}/good.yaml: can be used; listens for "beep" (threshold 0.25)\n',
    )
    done = call("config", "--check", folder / "bad.yaml")
    assert (done.returncode, done.stdout) == (78, "")
    assert f"{folder}/bad.yaml:1: words[0].treshold: unknown key" in done.stderr
    (folder / "bad.yaml").write_text("words: [{model: beep.npz, chime: ping.npz}]")
    assert "no file" in call("config", "--check", folder / "bad.yaml").stderr
    usual = Path(environment["HOME"]) / ".config" / "chimed" / "config.yaml"
    assert call("config").stdout.startswith(f"# no configuration file; there could be {usual} or ")
    usual.parent.mkdir(parents=True)
    usual.write_text("log_level: loud")
    for arguments in (["config"], ["config", "--check"]):
        done = call(*arguments)
        assert done.returncode == 78
        assert f"{usual}:1: log_level: 'loud' is not known" in done.stderr
