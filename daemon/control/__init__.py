"""The control socket: `status`, `watch`, `mute`, `trigger`, `reload`, and what the monitor asks; and its client.

Requests are done by the loop, between two blocks.
"""

__all__ = ["client", "commands", "server"]  # what other rooms may import
