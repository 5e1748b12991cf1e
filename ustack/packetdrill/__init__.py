"""ustack's own packetdrill: scripts of what goes in at what time and what must come out.

``command`` is the command line, ``plugin`` what pytest loads, ``dialogue`` the form for tests written in Python. See
README.md beside this file for the language.
"""
