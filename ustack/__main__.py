"""``python -m ustack``."""

import sys

from ustack.cli.command import main

sys.exit(main())
