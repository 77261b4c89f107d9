"""The tests: the folders of the sources again, and what the tests share in `support`."""
