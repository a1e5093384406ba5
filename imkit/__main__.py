"""Make `python -m imkit` do the same as the command `imkit`."""

import os
import sys

if __name__ == "__main__":
    # Python searches the working directory first: a file json.py there would run instead of Python's own. This helps
    # against an accident; against a stranger's files only the command `imkit`, or `python -P -m imkit`.
    if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:
        del sys.path[0]
    from imkit.cli import main

    sys.exit(main())
