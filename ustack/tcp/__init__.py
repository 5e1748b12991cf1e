"""Floor 3: TCP (RFC 9293). ``sender`` and ``receiver`` are its halves, ``connection`` the whole."""
