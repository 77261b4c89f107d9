"""The rim: microphone, files, configuration, hooks, and the commands that people type."""

__version__ = "0.1.0"
PROJECT = "chimed"  # tells this package from PyPI's python-daemon, which has the same import name
