"""What chimed costs and how it compares: `python -m tests.bench.NAME` prints it."""
