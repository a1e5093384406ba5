"""`python -m imkit` is the same as `imkit`."""

import sys

from imkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
