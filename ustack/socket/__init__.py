"""Floor 8: what applications hold. :class:`Host` makes sockets, :class:`Socket` is the standard library's.

``Socket`` (``base.py transfer.py socket.py``) is ``socketmodule.c``; a core (``core.py stream.py text.py datagram.py``)
is the kernel's socket with the semantics of its system calls; below are the Stack's endpoints. The tests run on
kernel sockets and on these, and CPython's own test_socket passes. What a kernel socket does and these do not:

- Names are those of this machine's resolver (``socket.getaddrinfo``), which the kernel's sockets ask, too.
- ``fileno()`` is a descriptor to watch, not to read from or to write to (``readiness.py``). POLLERR shows as readable
  and writable, an unconnected TCP socket as readable, urgent data brings POLLIN beside POLLPRI.
- ``detach()`` leaves a socket alive that only ``Host.socket(fileno=...)`` can take up again.
- ``sendfile()`` reads and sends; MSG_ZEROCOPY copies and reports nothing; MSG_ERRQUEUE has nothing. Of control
  messages there are TCP_INQ, SO_TIMESTAMP and its kin, SO_RXQ_OVFL, and those of TOS, TTL, PKTINFO and ORIGDSTADDR.
- IPv6 scopes and flow labels of addresses are taken and dropped. Multicast groups cannot be joined.
- TCP_REPAIR, TCP_MD5SIG, TCP_AO and upper-layer protocols are refused, and so are the options that
  ``tests/socket/test_socket_options_states.py`` names with the reason: BPF filters, time stamps, multicast groups, IP
  options and extension headers, SO_PEEK_OFF, UDP_GRO. TCP_RTO_MIN_US and its kin are not rounded to
  the kernel's ticks. IP_TOS does not change SO_PRIORITY.
"""

from __future__ import annotations

from ustack.socket.host import Host
from ustack.socket.socket import Socket

__all__ = ["Host", "Socket"]
