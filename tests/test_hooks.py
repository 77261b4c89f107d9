"""Hooks are real shell commands here: started, told, logged, limited, killed with all they started, reaped."""

from __future__ import annotations

import datetime
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.hooks import LINE_LIMIT, LINES_LIMIT, Hook, HookRunner, LineLog, environment
from model.detector import Detection

HEARD = {"CHIMED_WORD": "beep", "CHIMED_SCORE": "0.9", "CHIMED_TIME": "now"}


@pytest.fixture
def runner(caplog) -> Iterator[HookRunner]:
    caplog.set_level(logging.INFO)
    runner = HookRunner()
    yield runner
    runner.close()


def messages(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead but not reaped counts as gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def zombies() -> list[str]:
    """Dead children of this process that no one reaped."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = entry.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state == "Z" and int(parent) == os.getpid():
            found.append(str(entry))
    return found


def wait_until(condition, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def pids(path: Path, count: int) -> list[int]:
    """The process numbers that a hook wrote, a line each."""
    wait_until(lambda: path.exists() and len(path.read_text().split()) == count)
    return [int(word) for word in path.read_text().split()]


def test_a_hook_is_told_what_was_heard():
    told = environment(Detection("beep; rm -rf $HOME", 0.98765, 44_100))
    assert told["CHIMED_WORD"] == "beep; rm -rf $HOME"
    assert told["CHIMED_SCORE"] == "0.9877"
    moment = datetime.datetime.fromisoformat(told["CHIMED_TIME"])
    assert moment.utcoffset() is not None
    assert abs(moment - datetime.datetime.now().astimezone()) < datetime.timedelta(minutes=1)


def test_its_output_is_logged_line_by_line(runner, caplog):
    runner.start(Hook('echo "$CHIMED_WORD $CHIMED_SCORE"; echo wrong >&2; printf end'), HEARD)
    runner.wait()
    lines = [message.partition(": ")[2] for message in messages(caplog)]
    assert lines == ["beep 0.9", "wrong", "end"]


def test_an_exit_code_other_than_zero_is_logged(runner, caplog):
    runner.start(Hook("exit 3"), HEARD)
    runner.start(Hook("kill -SEGV $$"), HEARD)
    runner.start(Hook("no-such-program-here"), HEARD)
    runner.start(Hook("true"), HEARD)
    runner.wait()
    text = "\n".join(messages(caplog))
    assert "hook 'exit 3': exit code 3" in text
    assert "killed by SIGSEGV" in text
    assert "exit code 127" in text
    assert "'true'" not in text


def test_what_was_heard_is_never_part_of_a_command(runner, tmp_path):
    runner.start(Hook("echo $CHIMED_WORD"), HEARD | {"CHIMED_WORD": f"$(touch {tmp_path}/owned); `touch {tmp_path}/b`"})
    runner.wait()
    assert list(tmp_path.iterdir()) == []


def test_starting_does_not_wait(runner):
    begin = time.monotonic()
    for _ in range(5):
        runner.start(Hook("sleep 20"), HEARD)
    assert time.monotonic() - begin < 15
    runner.close()


def test_past_its_limit_the_whole_group_is_killed(runner, caplog, tmp_path):
    file = tmp_path / "pids"
    # a child that ignores SIGTERM and holds no output, and a shell that waits for another
    command = f"(trap '' TERM; exec sleep 300 >/dev/null 2>&1) & echo $! >> {file}; sleep 300 & echo $! >> {file}; wait"
    runner.start(Hook(command, time_limit=0.5), HEARD)
    children = pids(file, 2)
    runner.wait()
    assert "killed, not over after 0.5 s" in "\n".join(messages(caplog))
    wait_until(lambda: not any(map(alive, children)))
    assert zombies() == []


def test_what_keeps_the_output_open_counts_as_running(runner, tmp_path):
    file = tmp_path / "pids"
    runner.start(Hook(f"sleep 300 & echo $! >> {file}", time_limit=0.5), HEARD)
    (child,) = pids(file, 1)
    runner.wait()
    wait_until(lambda: not alive(child))


def test_what_gives_up_the_output_may_outlive_the_limit(runner, caplog, tmp_path):
    file = tmp_path / "pids"
    runner.start(Hook(f"sleep 300 >/dev/null 2>&1 & echo $! >> {file}", time_limit=0.5), HEARD)
    (child,) = pids(file, 1)
    runner.wait()
    time.sleep(1)
    assert alive(child)
    os.kill(child, 9)
    assert not any("killed" in message for message in messages(caplog))


def test_a_child_that_escapes_the_group_with_the_output_holds_nothing_up(runner, tmp_path):
    file = tmp_path / "pids"
    runner.start(Hook(f"setsid sh -c 'echo $$ >> {file}; exec sleep 300' & wait", time_limit=0.5), HEARD)
    (child,) = pids(file, 1)
    runner.wait()
    os.kill(child, 9)


def test_closing_ends_what_runs(caplog, tmp_path):
    caplog.set_level(logging.INFO)
    runner = HookRunner()
    file = tmp_path / "pids"
    runner.start(Hook(f"trap '' TERM; echo $$ >> {file}; while :; do sleep 1; done"), HEARD)
    runner.start(Hook(f"echo $$ >> {file}; exec sleep 300"), HEARD)
    running = pids(file, 2)
    runner.close()
    wait_until(lambda: not any(map(alive, running)))
    assert "killed, the daemon stops" in "\n".join(messages(caplog))
    assert zombies() == []


def test_none_is_left_as_a_zombie(runner):
    for _ in range(20):
        runner.start(Hook("true"), HEARD)
    runner.wait()
    assert zombies() == []


def test_a_flood_of_output_is_cut_and_the_hook_goes_on(runner, caplog, tmp_path):
    runner.start(Hook(f"yes chimed | head -c 50000000; echo > {tmp_path}/done"), HEARD)
    runner.start(Hook("head -c 20000000 /dev/zero"), HEARD)
    runner.wait()
    assert (tmp_path / "done").exists()
    assert len(messages(caplog)) <= LINES_LIMIT + 2
    assert max(map(len, messages(caplog))) < LINE_LIMIT + 100
    assert any("the rest is dropped" in message for message in messages(caplog))


def test_a_hook_that_cannot_start_is_a_line_in_the_log(runner, caplog):
    runner.start(Hook("echo " + "x" * 3_000_000), HEARD)
    assert "cannot start" in messages(caplog)[0]
    assert len(messages(caplog)[0]) < 500


def test_the_log_of_lines_does_not_depend_on_how_they_arrive(caplog):
    caplog.set_level(logging.INFO)
    text = "first\nsecond é\n\nlast".encode()
    for size in range(1, len(text) + 1):
        caplog.clear()
        lines = LineLog("x")
        for start in range(0, len(text), size):
            lines.push(text[start : start + size])
        lines.flush()
        assert messages(caplog) == ["hook x: first", "hook x: second é", "hook x: ", "hook x: last"]
