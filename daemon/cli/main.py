"""The command `chimed`. What a command needs is imported once it is known which one is wanted."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TypeAlias

import daemon

CLASH = (
    "chimed: the package `daemon` in this Python environment is another project's ({}), most likely python-daemon; "
    "install chimed into an environment of its own (uv tool install, pipx install, or a venv)"
)
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (by default the process's own); the exit code."""
    if getattr(daemon, "PROJECT", None) != "chimed":
        print(CLASH.format(daemon.__file__), file=sys.stderr)
        return 1
    args = parser().parse_args(argv)
    # not before the check, since another project's package lacks them
    from daemon.system.errors import ChimedError
    from daemon.system.terminal import say

    try:
        if args.numpy:
            _import_numpy()
        return int(import_module(args.module).command(args))
    except ChimedError as error:
        say(f"chimed: {error}", sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130  # as shells count it: 128 + SIGINT
    except BrokenPipeError:
        # whoever read our output has seen enough; the interpreter's last flush must not complain either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def parser() -> argparse.ArgumentParser:
    """All commands and options."""
    from daemon.cli import wyoming
    from model.cli_help import finish

    top = argparse.ArgumentParser(
        prog="chimed",
        description="A wake-word daemon: hears a word, then chimes and runs your hooks. Offline.",
        epilog="`chimed COMMAND --help` says more about a command, with an example.",
    )
    top.add_argument("--version", action="version", version=f"chimed {daemon.__version__}")
    top.set_defaults(numpy=True)
    commands = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    # in the order in which the help lists them
    _add_run(commands)
    _add_detect(commands)
    wyoming.add(commands, _add_words)
    _add_test_hook(commands)
    _add_devices(commands)
    _add_config(commands)
    _add_requests(commands)
    _add_service(commands)
    _add_completion(commands)
    finish(commands)
    return top


def _add(commands: Commands, name: str, module: str, text: str, *examples: str) -> argparse.ArgumentParser:
    """A command, which this module's function `command` does."""
    epilog = "\n  ".join(["examples:" if examples[1:] else "example:", *examples])
    command = commands.add_parser(name, help=text, epilog=epilog)
    command.set_defaults(module=module)
    return command


def _add_run(commands: Commands) -> None:
    from daemon.system.log_handlers import LEVELS

    run = _add(
        commands,
        "run",
        "daemon.cli.run",
        "listen to the microphone, or to a recording as if it were one",
        "chimed run --device USB",
        "chimed run --input meeting.flac --fast --no-chime",
        "ffmpeg -i talk.m4a -f s16le -ac 1 -ar 44100 - | chimed run --input - --fast",
    )
    source = run.add_argument_group("what to listen to")
    source.add_argument("--device", metavar="NAME", help="microphone: its number or (part of) its name")
    source.add_argument("--input", metavar="FILE", help="a recording instead; - for raw 16-bit mono PCM on stdin")
    _add_rate(source)
    source.add_argument("--fast", action="store_true", help="read the recording as fast as possible; no chime")
    _add_words(run)
    run.add_argument("--no-chime", action="store_true", help="play nothing")
    run.add_argument("--log-level", metavar="LEVEL", choices=LEVELS, help=f"one of {', '.join(LEVELS)}")
    run.add_argument("-v", "--verbose", action="store_const", dest="log_level", const="debug", help="log everything")


def _add_detect(commands: Commands) -> None:
    detect = _add(
        commands,
        "detect",
        "daemon.cli.detect",
        "say where in recordings a word is heard",
        "chimed detect meeting.flac",
        "chimed detect --json *.wav",
        "chimed detect --threshold 0.3 --plot heard.png clip.wav",
    )
    detect.add_argument("files", nargs="+", metavar="FILE", help="any format; - for raw 16-bit mono PCM on stdin")
    _add_rate(detect)
    _add_words(detect)
    detect.add_argument("--json", action="store_true", help="one JSON object a line: file, word, seconds, score")
    detect.add_argument("--plot", metavar="PNG", help="draw spectrogram, posterior, threshold and hits")
    detect.add_argument("--chime", metavar="WAV", help="write the recording with a chime where the word was heard")


def _add_test_hook(commands: Commands) -> None:
    test_hook = _add(
        commands,
        "test-hook",
        "daemon.cli.test_hook",
        "run the hooks of a word, as if it had been heard",
        "chimed test-hook activate",
    )
    test_hook.add_argument("word", metavar="WORD", help="one of the words that chimed listens for")
    test_hook.add_argument("--config", type=Path, metavar="FILE", help="instead of ~/.config/chimed/config.yaml")


def _add_devices(commands: Commands) -> None:
    _add(commands, "devices", "daemon.cli.devices", "list the microphones", "chimed devices")


def _add_config(commands: Commands) -> None:
    settings = _add(
        commands,
        "config",
        "daemon.cli.config",
        "print the settings in force and where each comes from",
        "chimed config",
        "chimed config --check ~/.config/chimed/config.yaml",
    )
    settings.add_argument(
        "--check", type=Path, nargs="?", const=Path(), metavar="FILE", help="only say whether this file can be used"
    )
    _add_words(settings)


def _add_requests(commands: Commands) -> None:
    """The commands that speak to a running chimed."""

    def add(name: str, module: str, text: str, *examples: str) -> argparse.ArgumentParser:
        command = _add(commands, name, module, text, *examples)
        command.set_defaults(ask=name, numpy=False)
        command.add_argument("--socket", type=Path, metavar="PATH", help="where the configuration put the socket")
        return command

    status = add(
        "status",
        "daemon.cli.status_mute_trigger",
        "say what the running chimed does and what it heard last",
        "chimed status",
        "chimed status --json",
    )
    status.add_argument("--json", action="store_true", help="one JSON object")
    watch = add("watch", "daemon.cli.watch", "show level, posteriors and thresholds live", "chimed watch")
    watch.add_argument("--json", action="store_true", help="one JSON object a line for each block and detection")
    monitor = add(
        "monitor",
        "daemon.monitor.server",
        "show in a browser what it hears, and set thresholds",
        "chimed monitor --port 8080",
    )
    monitor.add_argument("--port", type=_port, default=0, metavar="N", help="of the address (default: a free one)")
    mute = add("mute", "daemon.cli.status_mute_trigger", "close the microphone", "chimed mute", "chimed mute 30")
    mute.add_argument("minutes", type=float, nargs="?", metavar="MINUTES", help="for so long (default: until unmute)")
    add("unmute", "daemon.cli.status_mute_trigger", "open the microphone again", "chimed unmute")
    trigger = add(
        "trigger",
        "daemon.cli.status_mute_trigger",
        "do what follows a word, as if it had been heard",
        "chimed trigger activate",
    )
    trigger.add_argument("word", metavar="WORD", help="one of the words that it listens for")


def _add_service(commands: Commands) -> None:
    service = _add(
        commands,
        "service",
        "daemon.cli.systemd_service",
        "install chimed as a systemd service of your session",
        "chimed service install",
        "sudo /opt/chimed/bin/chimed service install --system",
    )
    service.add_argument("action", choices=("install", "uninstall", "status"), help="what to do with it")
    service.add_argument("--system", action="store_true", help="of the machine, for one without a session")


def _add_completion(commands: Commands) -> None:
    completion = _add(
        commands,
        "completion",
        "daemon.cli.completion",
        "print what lets a shell complete `chimed`'s commands and options",
        "chimed completion bash >~/.local/share/bash-completion/completions/chimed",
        "chimed completion fish >~/.config/fish/completions/chimed.fish",
    )
    completion.set_defaults(numpy=False)
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), help="which one")


def _add_rate(group: argparse._ActionsContainer) -> None:
    group.add_argument("--rate", type=int, metavar="HZ", help="sample rate of raw PCM (default: 44100)")


def _add_words(command: argparse.ArgumentParser) -> None:
    words = command.add_argument_group("what to listen for")
    words.add_argument(
        "--model", type=Path, action="append", default=[], metavar="NPZ", help="a model file; may be repeated"
    )
    words.add_argument("--threshold", type=_threshold, metavar="X", help="0 to 1, instead of the model's own")
    words.add_argument("--config", type=Path, metavar="FILE", help="instead of ~/.config/chimed/config.yaml")


def _threshold(text: str) -> float:
    value = float(text)
    if not 0.0 <= value < 1.0:
        raise argparse.ArgumentTypeError(f"a threshold lies between 0 and 1, not {text}")
    return value


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 65_535:
        raise argparse.ArgumentTypeError(f"a port is a number up to 65535, not {text}")
    return value


def _import_numpy() -> None:
    """Import numpy with one BLAS thread, the fastest here, unless the user set a number.

    The variables matter at the import alone, and hooks must not inherit them.
    """
    ours = [name for name in BLAS_THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(ours, "1"))
    import numpy  # noqa: F401 - imported for its side effect

    for name in ours:
        del os.environ[name]


if __name__ == "__main__":
    sys.exit(main())
