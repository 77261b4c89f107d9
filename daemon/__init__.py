"""The rim: microphone, files, configuration, hooks, and the commands that people type."""

__version__ = "0.1.0"
