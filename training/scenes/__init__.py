"""Endless labelled audio: events, noise, rooms and microphones, drawn by a recipe from one seed.

Same seed, same bytes.
"""

__all__ = ["augment", "fallback_material", "labels", "material", "recipe", "scenes"]  # what other rooms may import
