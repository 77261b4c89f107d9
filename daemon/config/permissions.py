"""An open configuration file in, a refusal out if anyone but its user could have written it: hooks run commands.

The rule is ssh's: file and folder belong to the user or to root and can be written by no other. A group that holds
the user alone, as Debian and Fedora make one for everybody, is no other.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from daemon.system.errors import ConfigError


def check(file: Path, descriptor: int) -> None:
    """Raise ConfigError if another user could change this open file, or put another in its place."""
    _check(file, os.fstat(descriptor))
    for folder in dict.fromkeys((file.parent, file.resolve().parent)):
        _check(folder, folder.stat())


def _check(path: Path, status: os.stat_result) -> None:
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return  # a pipe or a terminal: whoever gave it to us vouches for it
    if status.st_uid not in (0, os.geteuid()):
        raise ConfigError(
            f"{path}: belongs to another user (number {status.st_uid}), who could let chimed run commands; "
            f"`chown {os.geteuid()} {path}`"
        )
    if status.st_mode & stat.S_ISVTX and stat.S_ISDIR(status.st_mode):
        return  # sticky, as /tmp: each can replace only what is their own
    if status.st_mode & stat.S_IWOTH or (status.st_mode & stat.S_IWGRP and not _own_group(status.st_gid)):
        raise ConfigError(f"{path}: other users can write it, and so let chimed run commands; `chmod go-w {path}`")


def _own_group(group: int) -> bool:
    """Whether this group is the user's own and has no other member."""
    import grp  # a file that no group can write, the usual one, asks no directory service
    import pwd

    try:
        entry, name = grp.getgrgid(group), pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return False
    return entry.gr_name == name and set(entry.gr_mem) <= {name}
