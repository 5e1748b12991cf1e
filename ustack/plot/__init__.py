"""Graphs of connections: what is in them (samples and panels), and how matplotlib draws them."""
