"""The pytest plugin: a .pkt file is a test."""
