"""`python -m guestkit`."""

import sys

from guestkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
