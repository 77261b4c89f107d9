"""What runs on every block of audio: pure computation, numpy alone.

16-bit samples at 44.1 kHz flow in, detections flow out:
frontend -> network -> gate, put together by `detector`; `modelfile` reads and writes what was trained. `commandline`
alone has nothing to do with audio: what the two programs share.
"""
