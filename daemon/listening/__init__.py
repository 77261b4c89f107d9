"""The loop: blocks in, detections out, answered; its status, its plan of words, and its reload.

All state changes between two blocks, on the loop"s thread.
"""

__all__ = ["listening_plan", "loop", "reload", "status"]  # what other rooms may import
