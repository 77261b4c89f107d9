"""The command `chimed-train`: a file for each of its commands, and the parser in `main`.

Nothing heavy is imported before a command runs.
"""

__all__ = ["main"]  # what other rooms may import
