"""`python -m ptydesign`."""

import sys

from ptydesign.cli import main

if __name__ == "__main__":
    sys.exit(main())
