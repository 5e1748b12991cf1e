"""``python -m ustack.cli``."""

import sys

from ustack.cli.command import main

sys.exit(main())
