"""The HTTP server of ``ustack serve``."""
