"""The command `chimed`: a file for each of its commands, and the parser in `main`.

The top of the daemon: no other room imports it.
"""

__all__ = ["main"]  # what other rooms may import
