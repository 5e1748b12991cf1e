"""Devices: whatever carries IP packets, and wrappers that are devices themselves."""
