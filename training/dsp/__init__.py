"""Signal processing: pure functions of samples. Decoding, endpointing, pitch, PSOLA, WSOLA, codecs.

No files but those that are decoded.
"""

__all__ = ["codecs", "decode", "endpointing", "psola", "wsola"]  # what other rooms may import
