"""Synthetic speech: engines, phrases said by many voices, near words, and texts for negatives.

espeak-ng, flite, festival, Piper, Kokoro.
"""

__all__ = ["engines", "negative_texts", "synthesize"]  # what other rooms may import
