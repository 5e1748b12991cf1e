"""The ``ustack`` command. Each subcommand is a module with add_arguments(parser) and run(options)."""

from __future__ import annotations

from ustack.cli.command import main

__all__ = ["main"]
