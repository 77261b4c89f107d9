"""What a model is worth: scored recordings, operating points, confidence intervals, stress situations.

The posteriors and decisions are the daemon"s own.
"""

__all__ = [
    "confidence_intervals",
    "evaluation",
    "offline_gate",
    "operating_points",
    "recordings_from_options",
    "score_recordings",
    "stress",
    "text_tables",
]  # what other rooms may import
