"""Floor 3: TCP (RFC 9293). ``state.py`` is the machine, ``arrival.py`` the way in, ``output.py`` the way out."""
