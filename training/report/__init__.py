"""An evaluation for people: the HTML report and the model card.

Each file is complete in itself.
"""

__all__ = ["html_report", "model_card"]  # what other rooms may import
