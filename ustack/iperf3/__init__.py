"""iperf3's protocol, so that people can measure with the tool they have: `ustack iperf3 -s`, `-c HOST`."""

from ustack.iperf3.command import add_arguments, run

__all__ = ["add_arguments", "run"]
