"""`chimed test-hook WORD`: runs what the word would run, now, one after the other, and shows what came of it."""

from __future__ import annotations

import argparse
import threading
import time

from daemon.config import settings as config
from daemon.config.hook import Hook
from daemon.listening import listening_plan
from daemon.responses.hooks import HookEvent, run
from daemon.system.errors import UsageError
from daemon.system.terminal import say


def command(args: argparse.Namespace) -> int:
    """Run each hook of the word; 0 if all of them ended with 0, else 1.

    Raises ConfigError, and UsageError for a word that is not listened for or has no hooks.
    """
    settings = listening_plan.with_overrides(config.load(args.config))
    responses = listening_plan.responses(settings, listening_plan.load_models(settings.words))
    if args.word not in responses:
        known = ", ".join(map(repr, responses))
        raise UsageError(f"{args.word!r} is not listened for; the words are {known}")
    hooks = responses[args.word].hooks
    if not hooks:
        raise UsageError(f"{args.word!r} has no hooks in {settings.file or 'any configuration file'}")
    event = HookEvent(args.word, 1.0, 0.0, "chimed test-hook")
    return max([_try(hook, event) for hook in hooks])


def _try(hook: Hook, event: HookEvent) -> int:
    say(f"hook {hook.name}")
    begin = time.monotonic()
    try:
        result = run(hook, event, lambda line: say(f"  {line}"), threading.Event())
    except (OSError, ValueError) as error:
        say(f"cannot start: {getattr(error, 'strerror', None) or error}")
        return 1
    say(f"{result}, after {time.monotonic() - begin:.1f} s")
    return 1 if result.killed or result.code else 0
