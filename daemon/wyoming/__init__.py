"""The Wyoming service for Home Assistant: framing, connections, streams, arbitration, discovery.

Alone (`chimed wyoming`) or beside the microphone.
"""

__all__ = ["embedded"]  # what other rooms may import
