"""Saving a threshold: the file says the new one, and is otherwise the same, byte for byte."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from daemon.config import settings, yaml_reader
from daemon.config.edit_threshold import CannotEditError, save_threshold, with_threshold
from daemon.system.errors import ConfigError
from tests.support.paths import let_others_enter

FULL = """\
# my microphone
audio:
  device: USB   # the good one

words:
  - word: activate   # comes with chimed
    threshold: 0.6   # higher: fewer false alarms
    hooks:
      - 'echo "threshold: 0.6"'
  - model: ~/models/computer.npz  # mine
    # quiet, please
    chime: false
hooks: [a, b]
"""


def test_a_threshold_is_replaced_and_nothing_else():
    assert with_threshold(FULL, 0, "activate", 0.725) == FULL.replace("threshold: 0.6 ", "threshold: 0.725 ")


def test_a_missing_threshold_goes_below_the_name_and_its_comment():
    expected = FULL.replace("# mine\n", "# mine\n    threshold: 0.5\n")
    assert with_threshold(FULL, 1, "computer", 0.5) == expected


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "words:\n  - word: tok\n    threshold: 0.5\n"),
        ("# nothing\n", "# nothing\n\nwords:\n  - word: tok\n    threshold: 0.5\n"),
        ("chime: false", "chime: false\n\nwords:\n  - word: tok\n    threshold: 0.5\n"),
        ("chime: no\r\n", "chime: no\r\n\r\nwords:\r\n  - word: tok\r\n    threshold: 0.5\r\n"),
        ("words:  # none\nchime: no\n", "words:  # none\n  - word: tok\n    threshold: 0.5\nchime: no\n"),
        ("words: [{word: tok}] # x", "words: [{word: tok, threshold: 0.5}] # x"),
        ("words: [{word: tok,}]", "words: [{word: tok, threshold: 0.5,}]"),
        ('{words: [{threshold: "0.1", word: tok}]}', None),  # refused by chimed anyhow, and so no matter
        ("words:\n- word: tok", "words:\n- word: tok\n  threshold: 0.5\n"),
        ("words:\n- {word: tok, threshold: 0}\n", "words:\n- {word: tok, threshold: 0.5}\n"),
        ("words:\n- word: >-\n    tok\n", "words:\n- threshold: 0.5\n  word: >-\n    tok\n"),
        ("words:\r\n- word: tok\r\n", "words:\r\n- word: tok\r\n  threshold: 0.5\r\n"),
        ("\ufeffwords:\n- word: tok\n  threshold: 0.9 #é\n", "\ufeffwords:\n- word: tok\n  threshold: 0.5 #é\n"),
    ],
)
def test_every_style_of_writing(before, after):
    edited = with_threshold(before, 0, "tok", 0.5)
    assert yaml.safe_load(edited)["words"][0] == {"word": "tok", "threshold": 0.5}
    assert after is None or edited == after


@pytest.mark.parametrize(
    "text",
    [
        "words: &w\n- &t {word: a, threshold: 0.1}\n- *t\n",  # one entry, named twice
        "words:\n- word: a\n  threshold: &t 0.1\n- word: b\n  threshold: *t\n",
        "{chime: no}",
        "words: ~\n",
        "words: []\n",
        "words:\n- word: a\n  threshold:\n",
        "chime: no\n...\n",
        "words: 3",
        "- word: a",
        "words:\n- word: [\n",
    ],
)
def test_what_cannot_be_changed_safely_is_refused_with_what_to_write(text):
    with pytest.raises(CannotEditError, match=r"set `threshold: 0\.25`"):
        with_threshold(text, 0, "a", 0.25)


@given(
    st.integers(0, 2),
    st.integers(0, 9999),
    st.lists(st.sampled_from(["threshold: 0.3", "chime: false", "smoothing: 3  # x", "# c", ""]), unique=True),
    st.sampled_from(["  ", "    ", ""]),
)
def test_whatever_stands_there_all_other_lines_stay(index, value, lines, indent):
    entry = "\n".join([f"{indent}- word: w", *(f"{indent}  {line}" if line else "" for line in lines)])
    text = f"# top\nwords:\n{entry}\n{entry}\n{entry}\n# end\n"
    edited = with_threshold(text, index, "w", value / 10_000)
    assert yaml.safe_load(edited)["words"][index]["threshold"] == value / 10_000
    changed = [line for line in edited.splitlines() if line not in text.splitlines()]
    assert len(changed) <= 1
    assert [line for line in edited.splitlines() if "threshold" not in line] == [
        line for line in text.splitlines() if "threshold" not in line
    ]


def test_a_new_file_is_made_and_can_be_read(tmp_path):
    file = tmp_path / "config" / "chimed" / "config.yaml"
    save_threshold(file, 0, "activate", 0.61)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [word.threshold for word in settings.load(file).words] == [0.61]
    assert [path.name for path in file.parent.iterdir()] == ["config.yaml"]


def test_a_file_keeps_its_mode_and_a_link_stays_one(tmp_path):
    real = tmp_path / "dotfiles.yaml"
    real.write_text("words: [{word: activate}]\n")
    real.chmod(0o640)
    link = tmp_path / "config.yaml"
    link.symlink_to(real)
    save_threshold(link, 0, "activate", 0.3)
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert yaml_reader.read(link).place.endswith("config.yaml:1")
    assert settings.load(link).words[0].threshold == 0.3


def test_a_file_keeps_its_group_by_which_a_service_reads_it(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to any group")
    file = tmp_path / "config.yaml"
    file.write_text("words: [{word: activate}]\n")
    file.chmod(0o640)
    os.chown(file, -1, 65_534)
    save_threshold(file, 0, "activate", 0.3)
    assert (file.stat().st_gid, stat.S_IMODE(file.stat().st_mode)) == (65_534, 0o640)


def test_what_root_writes_for_a_user_is_the_users(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can write for others")
    os.chown(tmp_path, 65_534, 65_534)
    file = tmp_path / ".config" / "chimed" / "config.yaml"
    save_threshold(file, 0, "activate", 0.3)
    assert {path.stat().st_uid for path in (file, file.parent, file.parent.parent)} == {65_534}


AS_A_USER = """
import os, sys
from pathlib import Path
from daemon.config.edit_threshold import save_threshold
os.setgroups([]); os.setgid(60001); os.setuid(60001)
save_threshold(Path(sys.argv[1]), 0, "activate", 0.3)
"""


@pytest.mark.parametrize(("mode", "works"), [(0o644, True), (0o640, False)])
def test_a_group_that_cannot_be_kept_matters_only_where_it_may_more_than_others(tmp_path, mode, works):
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to any group")
    let_others_enter(tmp_path)
    folder = tmp_path / "home"
    folder.mkdir()
    file = folder / "config.yaml"
    file.write_text("words: [{word: activate}]\n")
    file.chmod(mode)
    os.chown(folder, 60_001, 60_001)
    os.chown(file, 60_001, 0)
    done = subprocess.run([sys.executable, "-c", AS_A_USER, str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is works, done.stderr
    assert works or "Operation not permitted" in done.stderr
    assert ("threshold" in file.read_text()) is works


def test_the_systems_file_is_one_that_its_service_can_read(tmp_path, monkeypatch):
    file = tmp_path / "etc" / "chimed" / "config.yaml"
    monkeypatch.setattr("daemon.config.edit_threshold.SYSTEM_FILE", file)
    before = os.umask(0o077)
    try:
        save_threshold(file, 0, "activate", 0.3)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (file.parent, file)] == [0o755, 0o644]


def test_a_file_that_others_can_write_is_left_alone(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("words: [{word: activate}]\n")
    file.chmod(0o666)
    with pytest.raises(ConfigError, match="chmod go-w"):
        save_threshold(file, 0, "activate", 0.3)
    assert "threshold" not in file.read_text()


def test_the_error_names_the_file(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("{chime: no}")
    with pytest.raises(ConfigError, match=r"config\.yaml: this file .* set `threshold: 0\.3`"):
        save_threshold(file, 0, "activate", 0.3)
