"""Which phone sounds when in a recording: forced alignment, and the targets that a network learns.

PocketSphinx, the extra `align`.
"""

__all__ = ["forced_alignment", "phone_targets"]  # what other rooms may import
