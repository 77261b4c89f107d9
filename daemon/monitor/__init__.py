"""`chimed monitor`: the page in the browser, and the bridge from it to the control socket.

Another process than the one that listens.
"""

__all__ = ["server"]  # what other rooms may import
