"""`python -m ustack.iperf3`."""

import sys

from ustack.iperf3.command import main

sys.exit(main())
