"""Hooks are real shell commands here: started, told, logged, limited, killed with all they started, reaped."""

from __future__ import annotations

import datetime
import http.server
import json
import logging
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.config import settings
from daemon.config.hook import Hook
from daemon.responses.hooks import AT_ONCE, OUTPUT_LINE_LIMIT, OUTPUT_LINES_LIMIT, HookEvent, HookRunner, OutputLines
from tests.support.paths import ROOT
from tests.support.soundserver import SoundServer, private

pytestmark = pytest.mark.integration

HEARD = HookEvent("beep", 0.9, 12.5, "a test")


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


def test_a_hook_is_told_what_was_heard_by_variables_and_as_json(runner, tmp_path):
    event = HookEvent("beep", 0.98765, 1.0, "a test", clip=lambda: "/clips/1.wav")
    runner.start(Hook(f"env | grep ^CHIMED_ | sort > {tmp_path}/variables; cat > {tmp_path}/json"), event)
    runner.wait()
    told = dict(line.split("=", 1) for line in (tmp_path / "variables").read_text().splitlines())
    assert told.pop("CHIMED_TIME") == event.time
    assert told == {
        "CHIMED_WORD": "beep",
        "CHIMED_SCORE": "0.9877",
        "CHIMED_CLIP": "/clips/1.wav",
        "CHIMED_DEVICE": "a test",
    }
    (line,) = (tmp_path / "json").read_text().splitlines()
    told = json.loads(line)
    moment = datetime.datetime.fromisoformat(told.pop("time"))
    assert moment.utcoffset() is not None
    assert abs(moment - datetime.datetime.now().astimezone()) < datetime.timedelta(minutes=1)
    assert told == {"word": "beep", "score": 0.9877, "seconds": 1.0, "clip": "/clips/1.wav", "device": "a test"}


def test_without_a_recording_none_is_named(runner, tmp_path, monkeypatch):
    monkeypatch.setenv("CHIMED_CLIP", "inherited")
    runner.start(Hook(f'cat > {tmp_path}/json; echo "<$CHIMED_CLIP>" > {tmp_path}/clip'), HEARD)
    runner.wait()
    assert (tmp_path / "clip").read_text() == "<>\n"
    assert json.loads((tmp_path / "json").read_text())["clip"] is None


def test_a_list_of_arguments_reaches_the_program_as_it_stands(runner, caplog):
    runner.start(Hook(("printf", "<%s>", "a b", "$HOME; $(id) *", "")), HEARD)
    runner.wait()
    assert messages(caplog)[0].endswith(": <a b><$HOME; $(id) *><>")


def test_a_program_that_is_not_there_is_a_line_in_the_log(runner, caplog):
    runner.start(Hook(("no-such-program-here", "x")), HEARD)
    runner.wait()
    assert messages(caplog) == ["hook 'no-such-program-here x' cannot start: No such file or directory"]


def test_its_output_is_logged_line_by_line(runner, caplog):
    runner.start(Hook('echo "$CHIMED_WORD $CHIMED_SCORE"; echo wrong >&2; printf end'), HEARD)
    runner.wait()
    lines = [message.partition(": ")[2] for message in messages(caplog)]
    assert lines == ["beep 0.9000", "wrong", "end"]


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


def test_with_all_that_is_logged_so_is_an_exit_code_of_zero(runner, caplog):
    caplog.set_level(logging.DEBUG)
    runner.start(Hook("true"), HEARD)
    runner.wait()
    assert messages(caplog) == ["hook 'true': exit code 0"]


@pytest.mark.parametrize("command", ["echo $CHIMED_WORD; cat", ("sh", "-c", "echo $CHIMED_WORD; cat"), ("env",)])
@pytest.mark.parametrize(
    "word", ["$(touch owned)", "`touch owned`", "; touch owned #", "a\n touch owned", '"|touch owned', "-n"]
)
def test_what_was_heard_is_never_part_of_a_command(runner, tmp_path, monkeypatch, command, word):
    monkeypatch.chdir(tmp_path)
    runner.start(Hook(command), HookEvent(word, 1.0, 0.0, word, clip=lambda: word))
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
    assert len(messages(caplog)) <= OUTPUT_LINES_LIMIT + 2
    assert max(map(len, messages(caplog))) < OUTPUT_LINE_LIMIT + 100
    assert any("the rest is dropped" in message for message in messages(caplog))


def test_a_hook_that_cannot_start_is_a_line_in_the_log(runner, caplog):
    runner.start(Hook("echo " + "x" * 3_000_000), HEARD)
    runner.start(Hook("true"), HookEvent("nul\0", 1.0, 0.0, ""))
    runner.wait()
    assert "cannot start" in messages(caplog)[1]
    assert "cannot start" in messages(caplog)[0]
    assert len(messages(caplog)[0]) < 500


@given(st.lists(st.binary(max_size=3 * OUTPUT_LINE_LIMIT)))
def test_lines_do_not_depend_on_how_they_arrive(pieces):
    split, whole = [], []
    for target, parts in ((split, pieces), (whole, [b"".join(pieces)])):
        lines = OutputLines(target.append)
        for part in parts:
            lines.push(part)
        lines.flush()
    assert split == whole
    assert len(split) <= OUTPUT_LINES_LIMIT
    assert max(map(len, split), default=0) <= OUTPUT_LINE_LIMIT + 4


def test_lines_are_what_was_written():
    written: list[str] = []
    lines = OutputLines(written.append)
    lines.push("first\nsecond é\r\n\nlast".encode())
    lines.flush()
    assert written == ["first", "second é", "", "last"]


def test_a_flood_of_gigabytes_costs_next_to_nothing(runner, tmp_path):
    before = time.process_time()
    runner.start(Hook(f"head -c 1G /dev/zero; echo > {tmp_path}/done", time_limit=60), HEARD)
    runner.wait()
    assert (tmp_path / "done").exists()
    assert time.process_time() - before < 0.5  # reading 1 GB in Python takes longer


def test_only_so_many_run_at_once_and_what_is_left_out_is_said_once(runner, caplog, tmp_path):
    runner.at_once = 2
    for _ in range(10):
        runner.start(Hook(f"echo >> {tmp_path}/ran; sleep 1"), HEARD)
    assert len([message for message in messages(caplog) if "2 hooks run already" in message]) == 1
    runner.wait()
    runner.start(Hook(f"echo >> {tmp_path}/ran"), HEARD)
    runner.wait()
    assert (tmp_path / "ran").read_text() == "\n" * 3
    assert messages(caplog)[-1] == "8 hooks were left out, since too many ran"


def test_a_cool_down_holds_for_its_own_hook(runner, tmp_path):
    for _ in range(3):
        runner.start(Hook(f"echo >> {tmp_path}/slow", cooldown=60), HEARD)
        runner.start(Hook(f"echo >> {tmp_path}/fast"), HEARD)
    runner.wait()
    assert (tmp_path / "slow").read_text() == "\n"
    assert (tmp_path / "fast").read_text() == "\n" * 3


def test_a_cool_down_ends(runner, tmp_path):
    hook = Hook(f"echo >> {tmp_path}/ran", cooldown=0.2)
    wait_until(
        lambda: runner.start(hook, HEARD) or ((tmp_path / "ran").exists() and len((tmp_path / "ran").read_text()) > 1)
    )
    runner.wait()


def test_a_thousand_at_once_hold_nothing_up(runner, caplog):
    """As many detections as a minute never has: starting them is quick, and threads and log stay few."""
    before = time.thread_time()
    for _ in range(1_000):
        runner.start(Hook("sleep 0.2"), HEARD)
    assert time.thread_time() - before < 5
    assert threading.active_count() < AT_ONCE + 20
    runner.wait()
    assert len(messages(caplog)) < 100
    assert zombies() == []


def test_nothing_starts_once_it_stops(runner, tmp_path):
    runner.stop()
    runner.start(Hook(f"touch {tmp_path}/ran"), HEARD)
    runner.close()
    assert list(tmp_path.iterdir()) == []


# by hand


@pytest.fixture
def configured(model_file, tmp_path):
    def write(hooks: str) -> Path:
        (tmp_path / "config.yaml").write_text(f"words: [{{model: {model_file}}}]\nhooks:\n{hooks}")
        return tmp_path / "config.yaml"

    return write


def test_hooks_can_be_tried_by_hand(call, configured):
    settings = configured(
        "- echo \"$CHIMED_WORD\"; cat; echo bad >&2; exit 3\n- [printf, 'no shell: %s', $HOME]\n- [nothing-here]\n"
    )
    done = call("test-hook", "beep", "--config", settings)
    assert done.returncode == 1
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[1] == "  beep"
    assert json.loads(lines[2])["word"] == "beep"
    assert lines[3] == "  bad"
    assert lines[4].startswith("exit code 3, after ")
    assert lines[6] == "  no shell: $HOME"
    assert lines[7].startswith("exit code 0, after ")
    assert lines[9] == "cannot start: No such file or directory"


def test_trying_hooks_that_end_well_is_a_success(call, configured):
    assert call("test-hook", "beep", "--config", configured("- 'true'\n")).returncode == 0


def test_trying_hooks_has_the_time_limit_too(call, configured):
    done = call("test-hook", "beep", "--config", configured("- {command: sleep 60, time_limit: 0.5}\n"))
    assert done.returncode == 1
    assert "killed, not over after 0.5 s" in done.stdout


def test_a_word_without_hooks_is_named(call, configured):
    done = call("test-hook", "boop", "--config", configured("- 'true'\n"))
    assert (done.returncode, done.stderr) == (2, "chimed: 'boop' is not listened for; the words are 'beep'\n")
    done = call("test-hook", "beep", "--config", configured("\n"))
    assert done.returncode == 2
    assert "'beep' has no hooks in " in done.stderr


# the recipes


def recipes(tmp_path: Path) -> dict[str, tuple[Hook, ...]]:
    """What docs/hooks.md proposes: heading -> hooks."""
    found = {}
    for section in (ROOT / "docs" / "hooks.md").read_text().split("\n### ")[1:]:
        for number, block in enumerate(section.split("```yaml\n")[1:]):
            (tmp_path / "recipe.yaml").write_text(block.partition("```")[0])
            found[f"{section.splitlines()[0]} {number}"] = settings.load(tmp_path / "recipe.yaml").hooks
    return found


def test_the_recipes_are_valid(tmp_path):
    found = recipes(tmp_path)
    assert len(found) >= 8
    assert all(found.values())


def test_the_webhook_gets_what_was_heard(runner, tmp_path):
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    got = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            got.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_arguments):
            pass

    (hook,) = recipes(tmp_path)["Home Assistant 0"]
    with http.server.HTTPServer(("127.0.0.1", 0), Receiver) as receiver:
        command = str(hook.command).replace("homeassistant.local:8123", f"127.0.0.1:{receiver.server_port}")
        runner.start(Hook(command), HEARD)
        receiver.handle_request()
    runner.wait()
    assert got[0][0] == "/api/webhook/chimed"
    assert got[0][1]["word"] == "beep"


def test_what_was_heard_can_be_remembered(runner, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (hook,) = recipes(tmp_path)["Remember what was heard 0"]
    for _ in range(2):
        runner.start(hook, HEARD)
        runner.wait()
    assert [json.loads(line)["word"] for line in (tmp_path / "heard.jsonl").read_text().splitlines()] == ["beep"] * 2


def test_a_hook_may_depend_on_the_score(runner, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "open-door").write_text("#!/bin/sh\ntouch ~/open\n")
    (tmp_path / "bin" / "open-door").chmod(0o755)
    _, hook = recipes(tmp_path)["Only at night, or only when it was certain 0"]
    for score, opens in ((0.94, False), (0.96, True)):
        runner.start(hook, HookEvent("beep", score, 0.0, ""))
        runner.wait()
        assert (tmp_path / "open").exists() is opens


def test_mqtt_gets_what_was_heard(runner, tmp_path):
    """A real broker, and a subscriber that waits for one message."""
    needed = ("mosquitto", "mosquitto_pub", "mosquitto_sub")
    path = f"{os.environ['PATH']}:/usr/sbin"
    if missing := [program for program in needed if not shutil.which(program, path=path)]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    (tmp_path / "broker.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    log = (tmp_path / "broker.log").open("w")
    broker = subprocess.Popen([shutil.which("mosquitto", path=path), "-c", tmp_path / "broker.conf"], stderr=log)
    try:
        (hook,) = recipes(tmp_path)["MQTT 0"]
        assert isinstance(hook.command, tuple)
        place = [word.replace("broker.local", "127.0.0.1") for word in hook.command]
        publish = [place[0], "-p", port, *place[1:]]
        topic = place[place.index("-t") + 1]
        listen = ["mosquitto_sub", "-h", "127.0.0.1", "-p", port, "-t", topic, "-C", "1"]
        deadline = time.monotonic() + 60
        while True:
            listener = subprocess.Popen(listen, stdout=subprocess.PIPE, text=True)
            # until the broker is up, the subscriber ends; until it has subscribed, it hears nothing
            while listener.poll() is None:
                assert time.monotonic() < deadline, (tmp_path / "broker.log").read_text()
                runner.start(Hook(tuple(publish)), HEARD)
                runner.wait()
            if listener.returncode == 0:
                break
        assert json.loads(listener.communicate()[0])["word"] == "beep"
    finally:
        broker.kill()
        broker.wait()
        log.close()


def test_the_music_is_quieter_for_a_while(runner, tmp_path, monkeypatch):
    """The volume of a real PulseAudio."""
    hook = recipes(tmp_path)["Pause the music, as the media keys do 1"][0]
    for server in private(SoundServer):
        server.start()
        for name, value in server.variables.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("PULSE_SERVER", raising=False)
        assert str(hook.command).count("sleep 8") == 1
        for pause, volume in (("false", " 30%"), ("true", " 80%")):
            runner.start(Hook(str(hook.command).replace("sleep 8", pause).replace("; pactl", " && pactl")), HEARD)
            runner.wait()
            assert volume in server.control("get-sink-volume", "spk").stdout
