"""What setsockopt() can set, as one plain record for each endpoint.

The socket layer writes it, TCP and UDP read it: :class:`SocketOptions` hangs on a Listener, a Connection
and a UDP endpoint as ``options``; a connection that a listener makes starts with ``copy()`` of
the listener's, as on Linux. Names are Linux's options in lower case; a suffix names the unit. What is
zero (or -1 where zero means something) was never set, and the Stack's Settings decide.
"""

from __future__ import annotations

from typing import Final

# IP_MTU_DISCOVER, include/uapi/linux/in.h.
PMTUDISC_DONT: Final = 0
PMTUDISC_WANT: Final = 1
PMTUDISC_DO: Final = 2
PMTUDISC_PROBE: Final = 3
PMTUDISC_INTERFACE: Final = 4
PMTUDISC_OMIT: Final = 5

UNLIMITED: Final = (1 << 62) - 1
"""max_pacing_rate when there is no limit (the kernel's ~0UL, kept below 2^62)."""


class SocketOptions:
    """The options of one socket. The owner changes fields in place and then tells a live connection
    with ``Connection.option_changed(name, now)``, ``name`` being the field's name."""

    def __init__(self) -> None:  # noqa: PLR0915 - a line for each option
        # SOL_SOCKET
        self.reuseaddr: bool = False
        self.reuseport: bool = False
        self.keepalive: bool = False
        self.oobinline: bool = False
        self.broadcast: bool = False
        self.linger_s: int = -1
        """SO_LINGER: -1 off, 0 close() resets the connection, n > 0 close() waits so many seconds."""
        self.rcvbuf: int = 0
        """Bytes as getsockopt() shows them (already doubled); 0: the stack tunes it (tcp_rmem)."""
        self.sndbuf: int = 0
        """The same for sending (tcp_wmem)."""
        self.rcvlowat: int = 1
        """Bytes that make the socket readable; never 0."""
        self.priority: int = 0
        self.mark: int = 0
        self.max_pacing_rate: int = UNLIMITED
        """Bytes per second."""

        # IPPROTO_TCP
        self.nodelay: bool = False
        self.cork: bool = False
        self.quickack: bool = True
        """TCP_QUICKACK as last set; the connection leaves and re-enters this mode by itself."""
        self.maxseg: int = 0
        """TCP_MAXSEG: upper bound of the MSS announced and used; 0 none."""
        self.keepidle_s: int = 0
        self.keepintvl_s: int = 0
        self.keepcnt: int = 0
        self.syncnt: int = 0
        """TCP_SYNCNT: SYN resends; 0: tcp_syn_retries."""
        self.linger2_s: int = 0
        """TCP_LINGER2: 0: tcp_fin_timeout, -1: no FIN-WAIT-2 for an orphan."""
        self.defer_accept_s: int = 0
        self.window_clamp: int = 0
        self.user_timeout_ms: int = 0
        self.notsent_lowat: int = 0
        """0: tcp_notsent_lowat."""
        self.congestion: str = ""
        """Name in congestion.ALGORITHMS; "": tcp_congestion_control."""
        self.congestion_class: object = None
        """A user's own CongestionControl subclass: wins over the name."""
        self.timestamp_offset: int = 0
        """TCP_TIMESTAMP as last set (only in repair mode on Linux); informational."""
        self.fastopen_qlen: int = 0
        """TCP_FASTOPEN: pending Fast Open requests a listener holds; 0 off."""
        self.fastopen_connect: bool = False
        self.fastopen_no_cookie: bool = False
        self.fastopen_key: bytes = b""
        self.save_syn: int = 0
        """TCP_SAVE_SYN: 0 no, 1 the SYN's headers from IP on are kept for TCP_SAVED_SYN, 2 (with link)."""
        self.inq: bool = False
        self.thin_linear_timeouts: bool = False
        self.rto_min_us: int = 0
        """TCP_RTO_MIN_US; 0: tcp_rto_min_us."""
        self.rto_max_ms: int = 0
        """TCP_RTO_MAX_MS; 0: tcp_rto_max_ms."""
        self.delack_max_us: int = 0
        """TCP_DELACK_MAX_US; 0: 200 ms."""

        # IPPROTO_IP, for packets that leave as IPv4
        self.ttl: int = -1
        """-1: ip_default_ttl."""
        self.tos: int = 0
        """The whole octet; TCP lets the two ECN bits be set by the congestion machinery only."""
        self.mtu_discover: int = PMTUDISC_WANT
        self.recverr: bool = False
        self.recvtos: bool = False
        self.recvttl: bool = False
        self.pktinfo: bool = False
        self.freebind: bool = False
        self.transparent: bool = False
        self.bind_address_no_port: bool = False
        self.local_port_range: int = 0
        """IP_LOCAL_PORT_RANGE: low 16 bits the first port, high 16 the last; 0: the sysctl."""

        # IPPROTO_IPV6, for packets that leave as IPv6
        self.v6only: bool = False
        self.hops: int = -1
        """IPV6_UNICAST_HOPS; -1: ip_default_ttl."""
        self.tclass: int = 0
        self.mtu_discover6: int = PMTUDISC_WANT
        self.recverr6: bool = False
        self.recvtclass: bool = False
        self.recvhoplimit: bool = False
        self.recvpktinfo6: bool = False
        self.autoflowlabel: int = -1

    def changes_headers(self) -> bool:
        """IP headers differ from those of a socket without options: TTL, TOS, fragmenting."""
        return bool(
            self.ttl >= 0
            or self.hops >= 0
            or self.tos
            or self.tclass
            or self.mtu_discover != PMTUDISC_WANT
            or self.mtu_discover6 != PMTUDISC_WANT
        )

    def copy(self) -> SocketOptions:
        """An independent record with the same values: what an accepted connection inherits."""
        twin = SocketOptions()
        twin.reuseaddr = self.reuseaddr
        twin.reuseport = self.reuseport
        twin.keepalive = self.keepalive
        twin.oobinline = self.oobinline
        twin.broadcast = self.broadcast
        twin.linger_s = self.linger_s
        twin.rcvbuf = self.rcvbuf
        twin.sndbuf = self.sndbuf
        twin.rcvlowat = self.rcvlowat
        twin.priority = self.priority
        twin.mark = self.mark
        twin.max_pacing_rate = self.max_pacing_rate
        self._copy_tcp_into(twin)
        self._copy_ip_into(twin)
        return twin

    def _copy_tcp_into(self, twin: SocketOptions) -> None:
        twin.nodelay = self.nodelay
        twin.cork = self.cork
        twin.quickack = self.quickack
        twin.maxseg = self.maxseg
        twin.keepidle_s = self.keepidle_s
        twin.keepintvl_s = self.keepintvl_s
        twin.keepcnt = self.keepcnt
        twin.syncnt = self.syncnt
        twin.linger2_s = self.linger2_s
        twin.defer_accept_s = self.defer_accept_s
        twin.window_clamp = self.window_clamp
        twin.user_timeout_ms = self.user_timeout_ms
        twin.notsent_lowat = self.notsent_lowat
        twin.congestion = self.congestion
        twin.congestion_class = self.congestion_class
        twin.timestamp_offset = self.timestamp_offset
        twin.fastopen_qlen = self.fastopen_qlen
        twin.fastopen_connect = self.fastopen_connect
        twin.fastopen_no_cookie = self.fastopen_no_cookie
        twin.fastopen_key = self.fastopen_key
        twin.save_syn = self.save_syn
        twin.inq = self.inq
        twin.thin_linear_timeouts = self.thin_linear_timeouts
        twin.rto_min_us = self.rto_min_us
        twin.rto_max_ms = self.rto_max_ms
        twin.delack_max_us = self.delack_max_us

    def _copy_ip_into(self, twin: SocketOptions) -> None:
        twin.ttl = self.ttl
        twin.tos = self.tos
        twin.mtu_discover = self.mtu_discover
        twin.recverr = self.recverr
        twin.recvtos = self.recvtos
        twin.recvttl = self.recvttl
        twin.pktinfo = self.pktinfo
        twin.freebind = self.freebind
        twin.transparent = self.transparent
        twin.bind_address_no_port = self.bind_address_no_port
        twin.local_port_range = self.local_port_range
        twin.v6only = self.v6only
        twin.hops = self.hops
        twin.tclass = self.tclass
        twin.mtu_discover6 = self.mtu_discover6
        twin.recverr6 = self.recverr6
        twin.recvtclass = self.recvtclass
        twin.recvhoplimit = self.recvhoplimit
        twin.recvpktinfo6 = self.recvpktinfo6
        twin.autoflowlabel = self.autoflowlabel
