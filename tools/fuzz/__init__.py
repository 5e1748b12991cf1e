"""Fuzzers of the sans-IO Stack: hostile peers, honest networks, floods of connections; all in virtual time.

``python -m tools.fuzz --seconds 60 --seed 1`` runs them by turns; ``tests/property`` runs a few hundred seeds of each.
"""
