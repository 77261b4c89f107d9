"""A person at a microphone: guided recording, and the review of clips that the daemon kept.

In a terminal.
"""

__all__ = ["audio_device", "keyboard", "review", "session", "takes", "terminal_view"]  # what other rooms may import
