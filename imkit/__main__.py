"""Make `python -m imkit` do the same as the command `imkit`."""

import sys

from imkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
