"""The engine: detects words in 16-bit samples at 44.1 kHz. Pure computation, on numpy alone.

    from model import Detector, load, shipped

    detector = Detector([load(shipped()["activate"])])
    for detection in detector.push(samples):  # (n,) int16, of any length
        print(detection.word, detection.score, detection.seconds)

What is named here can be relied on. Inside, samples flow through frontend -> network -> gate, put together by
`detector`; `modelfile` reads and writes what was trained. `commandline` alone has nothing to do with audio: what the
two programs share.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from model.detector import Detection, Detector
    from model.frontend import SAMPLE_RATE, FrontEnd
    from model.modelfile import Model, load, save, shipped

__all__ = ["SAMPLE_RATE", "Detection", "Detector", "FrontEnd", "Model", "load", "save", "shipped"]

_MODULES = {
    "SAMPLE_RATE": "model.frontend",
    "Detection": "model.detector",
    "Detector": "model.detector",
    "FrontEnd": "model.frontend",
    "Model": "model.modelfile",
    "load": "model.modelfile",
    "save": "model.modelfile",
    "shipped": "model.modelfile",
}


def __getattr__(name: str) -> Any:
    """Import it when it is first asked for: `chimed --help` needs `model.cli_help` alone, and no numpy."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value
