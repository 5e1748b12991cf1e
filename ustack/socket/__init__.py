"""Floor 8: what applications hold. :class:`Host` makes sockets, :class:`Socket` is the standard library's."""

from __future__ import annotations

from ustack.socket.host import Host
from ustack.socket.socket import Socket

__all__ = ["Host", "Socket"]
