"""`chimed-train`: each step from a phrase to a measured model file is a command."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence


def _completion(arguments: argparse.Namespace) -> None:
    from training.cli.completion import script

    print(script(parser(), arguments.shell))


def _limit_threads() -> None:
    # one thread for numpy's little products: more of them only wait for each other
    for library in ("OPENBLAS", "OMP", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")


def parser() -> argparse.ArgumentParser:
    """All commands and options."""
    from model.cli_help import finish
    from training.cli.adapt import add_adapt
    from training.cli.build import add_build
    from training.cli.download import add_download
    from training.cli.evaluate import add_evaluate
    from training.cli.export import add_export
    from training.cli.fit import add_fit
    from training.cli.import_assignment import add_import
    from training.cli.record import add_record
    from training.cli.review import add_review
    from training.cli.speak import add_speak
    from training.cli.stress import add_stress
    from training.cli.word import add_word

    top = argparse.ArgumentParser(
        prog="chimed-train",
        description="Train a wake word, offline.",
        epilog="`chimed-train COMMAND --help` says more about a command, with an example.",
    )
    commands = top.add_subparsers(title="commands", required=True, metavar="COMMAND")

    add_word(commands)

    add_speak(commands)
    add_download(commands)
    add_build(commands)

    for add in (add_fit, add_export, add_evaluate, add_stress, add_record, add_adapt, add_review):
        add(commands)

    add_import(commands)

    completion = commands.add_parser(
        "completion",
        help="print what lets a shell complete `chimed-train`'s commands and options",
        epilog="example:\n  chimed-train completion bash >~/.local/share/bash-completion/completions/chimed-train",
    )
    completion.add_argument("shell", choices=("bash", "zsh", "fish"), help="which one")
    completion.set_defaults(run=_completion)
    finish(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status. Errors are one sentence, never a traceback."""
    arguments = parser().parse_args(argv)
    _limit_threads()  # before anything imports numpy, which looks only then
    from model.extras import install
    from model.modelfile import ModelFileError
    from training.utils.errors import TrainingError

    try:
        arguments.run(arguments)
    except (TrainingError, ModelFileError) as error:
        print(f"chimed-train: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing in ("", "model", "training"):
            raise  # ours: a defect
        print(
            f"chimed-train: training needs the package {missing}: {install('train')}",
            file=sys.stderr,
        )
        return 1
    except OSError as error:  # a full disk, a folder that cannot be written
        if error.strerror is None:
            raise
        print(f"chimed-train: {f'{error.filename}: ' if error.filename else ''}{error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nchimed-train: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0
