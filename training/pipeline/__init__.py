"""Whole commands made of the other rooms: a word from a phrase, a model for one voice.

Each step is done once; an interrupted command goes on.
"""

__all__ = ["adapt_voice", "options", "train_word"]  # what other rooms may import
