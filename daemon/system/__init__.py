"""What every room stands on: errors with their exit codes, the terminal, the log, systemd"s notifications.

Imports nothing of ours.
"""

__all__ = ["errors", "log_handlers", "sd_notify", "terminal"]  # what other rooms may import
