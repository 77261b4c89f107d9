"""Real shells complete the commands, options and files of `chimed` and `chimed-train`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

PROGRAMS = {"chimed": "daemon.cli", "chimed-train": "training.cli"}

# What each shell would offer for a line: the script is in $1, the line in $2, and behind it what is waited for.
BASH = r"""
source "$1"
line=$2; read -ra COMP_WORDS <<<"$line"
[[ $line == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMP_LINE=$line; COMP_POINT=${#line}
compopt() { :; }    # is for a completion under way, as in an interactive shell
read -ra how <<<"$(complete -p "${COMP_WORDS[0]}")"
for ((i = 0; i < ${#how[@]}; i++)); do [[ ${how[i]} == -F ]] && "${how[i + 1]}" "${COMP_WORDS[0]}"; done
printf '%s\n' "${COMPREPLY[@]}"
"""
FISH = "source $argv[1]; complete --do-complete $argv[2] | string split -f1 \\t; true"
# zsh completes in its line editor alone, so in a terminal: Tab lists what there is, and the prompt comes again
ZSH = r"""
zmodload zsh/zpty
zpty shell "TERM=dumb zsh -f -i"
zpty -w shell "PS1='<>'; LISTMAX=0; zstyle ':completion:*' insert-tab false; fpath=(${1:h} \$fpath)
autoload -Uz compinit; compinit -u -D; print rea''dy"
local seen= piece=
zpty -r shell piece '*ready*<>*'
zpty -w -n shell "$2"$'\t'$'\t'
for ((n = 0; n < 200; n++)); do    # 20 s at most: nothing says that a list has ended
    while zpty -r -t shell piece; do seen+=$piece; done
    for word in ${@:3}; do [[ $seen == *$word* ]] || { sleep 0.1; continue 2 }; done
    break
done
zpty -d shell
print -r -- $seen
"""


@pytest.fixture
def complete(tmp_path: Path) -> Callable[[str, str, list[str]], str]:
    """What a shell says to a line that Tab was pressed behind, in a folder with some files."""
    for name in ("clip.wav", "mine.npz"):
        (tmp_path / name).touch()
    (tmp_path / "recordings").mkdir()

    def complete(shell: str, line: str, awaited: list[str]) -> str:
        if not shutil.which(shell):
            pytest.skip(f"{shell} is not installed")
        program = line.partition(" ")[0]
        code = f"import sys; from {PROGRAMS[program]}.main import main; sys.exit(main(['completion', {shell!r}]))"
        made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
        script = tmp_path / "scripts" / f"_{program}"
        script.parent.mkdir(exist_ok=True)
        script.write_text(made.stdout)
        command = {
            "bash": ["bash", "--norc", "-c", BASH, "bash", str(script), line],
            "zsh": ["zsh", "-f", "-c", ZSH, "zsh", str(script), line, *awaited],
            "fish": ["fish", "--no-config", "-c", FISH, str(script), line],
        }[shell]
        home = os.environ | {"HOME": str(tmp_path)}
        return subprocess.run(
            command, cwd=tmp_path, env=home, capture_output=True, text=True, check=True, timeout=40
        ).stdout

    return complete


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("line", "offered", "not_offered"),
    [
        ("chimed de", ["detect", "devices"], ["run"]),
        ("chimed run --", ["--device", "--input", "--threshold"], ["--plot"]),
        ("chimed detect ", ["clip.wav"], []),
        ("chimed run --log-level ", ["debug", "warning"], ["--device"]),
        ("chimed service ", ["install", "uninstall", "status"], []),
        ("chimed-train ", ["word", "evaluate", "completion"], ["detect"]),
        ("chimed-train evaluate --positives ", ["recordings"], ["mine.npz"]),
        ("chimed-train fit --start ", ["mine.npz"], []),
    ],
)
def test_a_shell_offers_what_can_stand_there(complete, shell, line, offered, not_offered):
    said = complete(shell, line, offered)
    assert [word for word in offered if word not in said] == [], said
    assert [word for word in not_offered if word in said] == [], said


def test_start_up_imports_nothing_for_it():
    code = "import sys; from daemon.cli.main import parser; parser(); sys.exit('shtab' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
