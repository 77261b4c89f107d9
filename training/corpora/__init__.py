"""Recordings of people and places: found, decoded once, split by speaker, with their texts.

And what is done with them as a whole: room tone, leaving out a word, downloads.
"""

__all__ = ["corpus", "download_debian", "exclude_word", "room_tone", "transcripts"]  # what other rooms may import
