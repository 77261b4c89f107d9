"""The configuration: what it says is done, and what it says wrongly is named with file, line, key and suggestion."""

from __future__ import annotations

import dataclasses
import grp
import os
import pwd
import re
import string
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daemon.config import settings as config
from daemon.config.hook import TIME_LIMIT, Hook
from daemon.config.settings import AudioSettings, ClipSettings, ControlSettings, Settings, WordSettings
from daemon.config.wyoming_options import WyomingOptions
from daemon.listening import listening_plan
from daemon.responses import chime
from daemon.system.errors import ConfigError
from model import modelfile
from tests.support.chimed import tone_model
from tests.support.paths import ROOT

FULL = """\
audio:
  device: USB
  channel: 2
  gain: 6
words:
- model: beep.npz
  threshold: 0.7
  smoothing: 5
  suppression: 200
  chime: false
  hooks:
  - echo one
  - command: echo two
    time_limit: 3
    cooldown: 1.5
- model: boop.npz
chime: ping.wav
hooks:
- [echo, all]
hooks_at_once: 3
clips:
  folder: clips
  seconds: 5
  after: 0.25
  near_misses: true
  max_files: 7
  max_bytes: 8000000
control:
  enabled: false
  socket: control.sock
log_level: warning
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two models and a sound."""
    modelfile.save(tmp_path / "beep.npz", tone_model("beep"))
    modelfile.save(tmp_path / "boop.npz", tone_model("boop", 2_000.0, 0.3))
    soundfile.write(tmp_path / "ping.wav", np.full(441, 0.25), 44_100)
    return tmp_path


def load(folder: Path, text: str) -> Settings:
    (folder / "config.yaml").write_text(text)
    return config.load(folder / "config.yaml")


def complaint(folder: Path, text: str) -> str:
    """What is said about a broken file, without the path of the folder."""
    with pytest.raises(ConfigError) as error:
        load(folder, text)
    assert error.value.exit_code == 78
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"{folder}/")


def test_every_key_is_read(folder):
    read = load(folder, FULL)
    assert read == Settings(
        audio=AudioSettings("USB", 2, 6.0),
        words=(
            WordSettings(
                folder / "beep.npz",
                f"{folder}/config.yaml:6: words[0].model: ",
                threshold=0.7,
                smoothing=5,
                suppression=200,
                chime=False,
                hooks=(Hook("echo one"), Hook("echo two", 3.0, 1.5)),
            ),
            WordSettings(folder / "boop.npz", f"{folder}/config.yaml:16: words[1].model: "),
        ),
        chime=folder / "ping.wav",
        hooks=(Hook(("echo", "all"), TIME_LIMIT),),
        hooks_at_once=3,
        clips=ClipSettings(folder / "clips", 5.0, True, 7, 8_000_000, 0.25),
        control=ControlSettings(False, folder / "control.sock"),
        log_level="warning",
        file=folder / "config.yaml",
    )


def test_what_the_file_says_reaches_models_and_responses(folder):
    read = load(folder, FULL)
    beep, boop = listening_plan.load_models(read.words)
    assert (beep.word, beep.threshold, beep.smoothing, beep.suppression) == ("beep", 0.7, 5, 200)
    assert (boop.word, boop.threshold, boop.smoothing, boop.suppression) == ("boop", 0.3, 10, 75)
    responses = listening_plan.responses(read, [beep, boop])
    assert responses["beep"].chime is None
    assert responses["beep"].hooks == (Hook("echo one"), Hook("echo two", 3.0, 1.5))
    assert np.array_equal(responses["boop"].chime, np.full(441, 8_192))
    assert responses["boop"].hooks == (Hook(("echo", "all")),)


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "{}", "words:\nhooks:\naudio:\n"])
def test_everything_is_optional(folder, text):
    read = load(folder, text)
    assert read == Settings(file=folder / "config.yaml")


def test_the_default_chime_is_the_projects_own(folder):
    chosen = listening_plan.with_overrides(load(folder, ""), [folder / "beep.npz"])
    models = listening_plan.load_models(chosen.words)
    assert np.array_equal(listening_plan.responses(chosen, models)["beep"].chime, chime.synthesise())


def test_the_command_line_wins(folder):
    chosen = listening_plan.with_overrides(load(folder, FULL), [folder / "boop.npz"], 0.9)
    (model,) = listening_plan.load_models(chosen.words)
    assert (model.word, model.threshold) == ("boop", 0.9)
    assert chosen.hooks == (Hook(("echo", "all")),)
    assert [word.threshold for word in listening_plan.with_overrides(load(folder, FULL), [], 0.9).words] == [0.9, 0.9]


def test_a_device_may_be_a_number(folder):
    assert load(folder, "audio: {device: 3}").audio.device == 3
    assert load(folder, "audio: {device: 'hw:1'}").audio.device == "hw:1"


def test_a_word_that_comes_with_chimed(folder):
    if config.DEFAULT_WORD not in modelfile.shipped():
        pytest.skip("the shipped model is not trained yet")
    (word,) = load(folder, "words: [{word: activate}]").words
    assert word.model == modelfile.shipped()["activate"]
    assert listening_plan.load_models(listening_plan.with_overrides(Settings()).words)[0].word == "activate"


def test_the_users_file_comes_before_the_systems(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "own"))
    monkeypatch.setattr(config, "SYSTEM_FILE", tmp_path / "system.yaml")
    assert config.load() == Settings()
    (tmp_path / "system.yaml").write_text("log_level: error")
    assert config.load().log_level == "error"
    (tmp_path / "own" / "chimed").mkdir(parents=True)
    (tmp_path / "own" / "chimed" / "config.yaml").write_text("log_level: debug")
    assert config.load().log_level == "debug"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert config.usual_files()[0] == tmp_path / "home" / ".config" / "chimed" / "config.yaml"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("chime: true\nhook: [a]", ":2: hook: unknown key; did you mean 'hooks'?"),
        ("audio: {rate: 1}", ":1: audio.rate: unknown key; known: channel, device, gain"),
        ("audio:\n  devise: 1", ":2: audio.devise: unknown key; did you mean 'device'?"),
        (
            "words:\n- model: beep.npz\n  treshold: 0.5",
            ":3: words[0].treshold: unknown key; did you mean 'threshold'?",
        ),
        ("chime: true\nhooks: []\nchime: false", ":3: chime: this key stands here twice"),
        (
            "words:\n- model: beep.npz\n  threshold: high",
            ":3: words[0].threshold: a number is needed, not text ('high')",
        ),
        ("words:\n- model: beep.npz\n  threshold: 1.5", ":3: words[0].threshold: 1.5 is outside 0 to 0.9999"),
        ("words: [{model: beep.npz, threshold: .nan}]", ":1: words[0].threshold: nan is outside 0 to 0.9999"),
        (
            "words: [{model: beep.npz, threshold: yes}]",
            ":1: words[0].threshold: a number is needed, not true or false (True)",
        ),
        ("words: [{model: beep.npz, smoothing: 0}]", ":1: words[0].smoothing: 0 is outside 1 to 10000"),
        (
            "words: [{model: beep.npz, smoothing: 1.5}]",
            ":1: words[0].smoothing: a whole number is needed, not a number (1.5)",
        ),
        ("words: {model: beep.npz}", ":1: words: a list (`- entry`) is needed, not a mapping"),
        ("words: [beep]", ":1: words[0]: a mapping (`key: value`) is needed, not text ('beep')"),
        ("words: [{threshold: 0.5}]", ":1: words[0]: each entry needs either `word`"),
        ("words:\n- word: on", ":2: words[0].word: text is needed, not true or false (True)"),
        ("words:\n- word: xyzzy", ":2: words[0].word: no model for 'xyzzy' comes with chimed"),
        ("audio: {device: [1]}", ":1: audio.device: a whole number is needed, not a list"),
        ("audio: {device: ''}", ":1: audio.device: this is empty"),
        ("hooks: notify-send", ":1: hooks: a list (`- entry`) is needed, not text ('notify-send')"),
        ("hooks:\n- time_limit: 3", ":2: hooks[0]: a hook needs a `command`"),
        ("hooks:\n- command: a\n  timelimit: 3", ":3: hooks[0].timelimit: unknown key; did you mean 'time_limit'?"),
        ("hooks:\n- command: a\n  time_limit: 0", ":3: hooks[0].time_limit: 0 is outside 0.1 to 86400"),
        ("hooks:\n- []", ":2: hooks[0]: this is empty"),
        ("hooks:\n- command: [a, {b: c}]", ":2: hooks[0].command[1]: text is needed, not a mapping"),
        ("hooks:\n- command: a\n  cooldown: -1", ":3: hooks[0].cooldown: -1 is outside 0 to 86400"),
        ("audio: {channel: 0}", ":1: audio.channel: 0 is outside 1 to 64"),
        ("audio: {gain: loud}", ":1: audio.gain: a number is needed, not text ('loud')"),
        ("clips: {folder: beep.npz}", ":1: clips.folder: "),
        ("clips: {seconds: 11}", ":1: clips.seconds: 11 is outside 0.5 to 10"),
        ("clips: {near_misses: 1}", ":1: clips.near_misses: true or false is needed, not a whole number (1)"),
        ("control: {soket: x}", ":1: control.soket: unknown key; did you mean 'socket'?"),
        ("log_level: warn", ":1: log_level: 'warn' is not known; did you mean 'warning'?"),
        ("- a\n- b", ":1: a mapping (`key: value`) is needed, not a list"),
        ("a: 1\n b: 2", ":2: not valid YAML (mapping values are not allowed here)"),
        ("chime: [true", ":1: not valid YAML ("),
        ("a: \x01", ": not valid YAML ("),
        ("chime: !!python/object:os.system true", ":1: chime: cannot be understood (could not determine a constructor"),
        ("chime: !!bool maybe", ":1: chime: cannot be understood ("),
        ('clips: {max_files: !!int ""}', ":1: clips.max_files: cannot be understood ("),
        ("chime: ~nosuchuser/x.wav", ":1: chime: ~nosuchuser/x.wav: there is no such home folder"),
        ("clips: {folder: ~nosuchuser/x}", ":1: clips.folder: ~nosuchuser/x: there is no such home folder"),
        ("control: {socket: ~nosuchuser/x}", ":1: control.socket: ~nosuchuser/x: there is no such home folder"),
        ("wyoming: {uri: 'unix://~nosuchuser/x'}", ":1: wyoming: 'unix://~nosuchuser/x': there is no such home"),
        ("? {a: b}\n: c", ":1: ?: unknown key; known: audio, chime"),
        ("<<: {chime: false}", ":1: <<: unknown key; known: audio, chime"),
        ("chime: true\n---\nchime: false", ":2: not valid YAML (but found another document)"),
    ],
)
def test_a_mistake_is_named_with_its_place(folder, text, expected):
    assert complaint(folder, text).startswith(f"config.yaml{expected}")


def test_missing_files_are_named(folder):
    assert complaint(folder, "chime: pong.wav") == f"config.yaml:1: chime: there is no file {folder}/pong.wav"
    assert "config.yaml:2: words[0].model: there is no file" in complaint(folder, "words:\n- model: none.npz")
    with pytest.raises(ConfigError, match=r"none\.yaml: No such file or directory"):
        config.load(folder / "none.yaml")


def test_a_path_that_cannot_be_looked_at_is_a_mistake_like_others(folder):
    (folder / "loop").symlink_to("loop")
    assert complaint(folder, "chime: loop") == f"config.yaml:1: chime: {folder}/loop: Too many levels of symbolic links"
    assert "clips.folder" in complaint(folder, "clips: {folder: loop/clips}")
    assert complaint(folder, f"chime: {'x' * 300}").endswith(": File name too long")
    assert complaint(folder, "chime: .") == f"config.yaml:1: chime: {folder} is no file"


def test_a_folder_that_may_not_be_entered_is_said(folder, monkeypatch):
    (folder / "chimed").symlink_to("chimed")  # for root no folder is closed, but this one is to nobody open
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    with pytest.raises(ConfigError, match=r"chimed/config\.yaml: Too many levels of symbolic links"):
        config.load()


def test_a_file_that_is_not_text_is_refused(folder):
    (folder / "config.yaml").write_bytes(b"chime: \xff\xfe")
    with pytest.raises(ConfigError, match=r"config\.yaml: this is not UTF-8 text"):
        config.load(folder / "config.yaml")


def test_a_model_that_does_not_load_is_named_with_its_line_and_the_reason(folder):
    (folder / "beep.npz").write_bytes(b"no model")
    read = load(folder, "words:\n\n- model: beep.npz")
    with pytest.raises(ConfigError, match=r"config\.yaml:3: words\[0\]\.model: .*beep\.npz: not a model file"):
        listening_plan.load_models(read.words)


def test_two_models_for_one_word_are_refused(folder):
    read = load(folder, "words:\n- model: beep.npz\n- model: beep.npz")
    with pytest.raises(ConfigError, match=r"config\.yaml:3: .*another model already listens for 'beep'"):
        listening_plan.load_models(read.words)


def test_a_chime_that_cannot_be_read_is_named(folder):
    (folder / "ping.wav").write_text("no sound")
    read = load(folder, "words: [{model: beep.npz}]\nchime: ping.wav")
    with pytest.raises(ConfigError, match=r"config\.yaml:2: chime: .*ping\.wav: not a recording"):
        listening_plan.responses(read, listening_plan.load_models(read.words))
    read = load(folder, "words:\n- model: beep.npz\n- model: boop.npz\n  chime: ping.wav")
    with pytest.raises(ConfigError, match=r"config\.yaml:4: words\[1\]\.chime: .*ping\.wav: not a recording"):
        listening_plan.responses(read, listening_plan.load_models(read.words))


def test_a_path_starts_at_the_files_folder_or_at_home(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert load(folder, "chime: ~/ping.wav").chime == folder / "ping.wav"
    assert load(folder, f"chime: {folder}/ping.wav").chime == folder / "ping.wav"


# the example file

EXAMPLE = ROOT / "systemd" / "config.example.yaml"


def switched_on() -> str:
    """The example with every key in it."""
    return re.sub(r"^( *)#(?=\S)", r"\1", EXAMPLE.read_text(), flags=re.MULTILINE)


def schema(keys: config.Keys, path: str = "") -> set[str]:
    """All key paths there are, as a list's first entry has them."""
    parts = {
        "audio": config.AUDIO_KEYS,
        "words": config.WORD_KEYS,
        "hooks": config.HOOK_KEYS,
        "clips": config.CLIPS_KEYS,
        "control": config.CONTROL_KEYS,
        "wyoming": config.WYOMING_KEYS,
    }
    found = set()
    for key in keys:
        found.add(f"{path}{key}")
        if key in parts:
            found |= schema(parts[key], f"{path}{key}.")
    return found


def test_the_example_documents_every_key_and_no_other(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    modelfile.save(tmp_path / "models" / "hey_bicycle.npz", tone_model("hey bicycle"))
    read = load(tmp_path, switched_on())
    documented = {re.sub(r"\[\d+\]", "", path) for path in read.places}
    # a hook's keys are the same for a word's own hooks and for all
    assert documented == {path for path in schema(config.KEYS) if not path.startswith("words.hooks.")}
    assert listening_plan.load_models(read.words)
    # but for the examples of words and hooks, of names and paths, it says what holds anyway
    assert dataclasses.replace(read.audio, device=None) == AudioSettings()
    assert dataclasses.replace(read.clips, folder=None) == ClipSettings()
    assert dataclasses.replace(read.control, socket=None) == ControlSettings()
    assert read.wyoming == WyomingOptions()
    assert (read.chime, read.hooks_at_once, read.log_level) == (
        Settings().chime,
        Settings().hooks_at_once,
        Settings().log_level,
    )
    assert read.hooks[-1] == Hook("~/bin/lights on")


def test_the_example_as_it_comes_changes_nothing(folder):
    assert load(folder, EXAMPLE.read_text()) == Settings(file=folder / "config.yaml")


# who else can write it


@pytest.mark.parametrize("mode", [0o666, 0o602, 0o646])
def test_a_file_that_others_can_write_is_refused(folder, mode):
    (folder / "config.yaml").write_text("chime: false")
    (folder / "config.yaml").chmod(mode)
    with pytest.raises(ConfigError, match=r"config\.yaml: other users can write it.*`chmod go-w .*config\.yaml`"):
        config.load(folder / "config.yaml")


def test_a_folder_that_others_can_write_is_refused_also_behind_a_link(folder):
    load(folder, "chime: false")
    (folder / "open").mkdir()
    (folder / "open" / "real.yaml").write_text("chime: false")
    (folder / "link.yaml").symlink_to(folder / "open" / "real.yaml")
    config.load(folder / "link.yaml")
    (folder / "open").chmod(0o777)
    with pytest.raises(ConfigError, match=r"open: other users can write it"):
        config.load(folder / "link.yaml")
    (folder / "open").chmod(0o1777)  # as /tmp: there each can replace only what is their own
    config.load(folder / "link.yaml")


def test_a_file_of_another_user_is_refused(folder):
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    load(folder, "chime: false")
    os.chown(folder / "config.yaml", 12_345, -1)
    with pytest.raises(ConfigError, match=r"config\.yaml: belongs to another user"):
        config.load(folder / "config.yaml")


def test_a_group_may_write_it_if_it_holds_the_user_alone(folder, monkeypatch):
    load(folder, "chime: false")
    (folder / "config.yaml").chmod(0o660)
    own = pwd.getpwuid(os.geteuid())
    os.chown(folder / "config.yaml", -1, own.pw_gid)
    members: list[str] = []
    entry = grp.struct_group((own.pw_name, "x", own.pw_gid, members))
    monkeypatch.setattr(grp, "getgrgid", lambda _number: entry)
    config.load(folder / "config.yaml")
    members.append("mallory")
    with pytest.raises(ConfigError, match="other users can write it"):
        config.load(folder / "config.yaml")
    monkeypatch.setattr(grp, "getgrgid", lambda _number: grp.struct_group(("staff", "x", own.pw_gid, [])))
    with pytest.raises(ConfigError, match="other users can write it"):
        config.load(folder / "config.yaml")


yaml_text = st.text(string.ascii_lowercase + "[]{}:,-#&*!|>'\"%@ \n\t01.é", max_size=80)
keys = st.sampled_from(
    ["audio", "device", "words", "word", "model", "threshold", "chime", "hooks", "command", "log_level"]
)
scalars = st.one_of(keys, st.integers().map(str), st.floats().map(str), st.booleans().map(str), st.just("beep.npz"))
nested = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda values: "[" + ", ".join(values) + "]"),
        st.lists(st.tuples(keys, inner), max_size=3).map(
            lambda pairs: "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
        ),
    ),
    max_leaves=8,
)


@given(st.one_of(yaml_text, nested))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
def test_whatever_the_file_says_it_is_settings_or_one_sentence(folder, text):
    try:
        load(folder, text)
    except ConfigError as error:
        said = str(error)
    else:
        return
    assert said.startswith(f"{folder}/config.yaml:")
    assert "\n" not in said
