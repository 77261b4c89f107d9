"""`python -m training.cli`: the same as the command `chimed-train`."""

import sys

from training.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
