"""Makes the files of `tests/data` and the pictures of the documentation anew: `python -m tests.make.NAME`."""
