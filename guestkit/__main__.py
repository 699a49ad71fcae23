"""`python -m guestkit`."""

import sys

from guestkit.cli import main

sys.exit(main())
