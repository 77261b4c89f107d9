"""What follows a detection: the chime, the user"s hooks, and the recordings that are kept of it or of near misses.

Nothing here holds up the audio.
"""

__all__ = ["chime", "clip_recorder", "hooks"]  # what other rooms may import
