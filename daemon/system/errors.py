"""What goes wrong in words that a user can act on; the CLI prints them and exits with their code.

Exit codes: 2 usage, 78 configuration (systemd does not restart on it), 1 otherwise.
"""

from __future__ import annotations

from typing import ClassVar


class ChimedError(Exception):
    """Base of all expected failures; its text is one sentence."""

    exit_code: ClassVar[int] = 1


class UsageError(ChimedError):
    """The command line asks for something that makes no sense."""

    exit_code = 2


class ConfigError(ChimedError):
    """The configuration, or a model that it names, cannot be used; the text says where and why."""

    exit_code = 78  # EX_CONFIG


class AudioError(ChimedError):
    """No sound library, no device, or a recording that cannot be read."""
