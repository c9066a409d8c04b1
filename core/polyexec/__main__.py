"""Run the command line: `python -m polyexec`."""

import sys

from polyexec.cli import main

# The guard keeps workers that import the main module from running the command line again.
if __name__ == "__main__":
    sys.exit(main())
