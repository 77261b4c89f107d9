"""Labelled examples of 10 s on disk (`build`): the assignment"s functions, recipes, shards, X.npy and Y.npy.

On one machine or on many.
"""

__all__ = ["build", "raw_data", "recipe", "shards", "xy_arrays"]  # what other rooms may import
