"""Why a packet was refused: one name, one rule, one source for each.

The first block (1..39) is what the parser finds wrong with the bytes alone; the C core uses the same
numbers (``enum us_drop`` in ``native/cdef.h``, compared by ``tests/native/test_layout.py``). From 40 on
are the refusals of a TCP that knows its connection.
"""

from enum import IntEnum


class Drop(IntEnum):
    """A reason to refuse a packet. Zero is never a reason."""

    IP_TRUNCATED = 1
    IP_VERSION = 2
    IP_HEADER_LENGTH = 3
    IP_TOTAL_LENGTH = 4
    IP_CHECKSUM = 5
    IP_FRAGMENT = 6
    IPV6_EXTENSION = 7
    IPV6_EXTENSION_CHAIN = 8
    TCP_TRUNCATED = 9
    TCP_DATA_OFFSET = 10
    TCP_CHECKSUM = 11
    UDP_TRUNCATED = 12
    UDP_LENGTH = 13
    UDP_CHECKSUM = 14
    ICMP_TRUNCATED = 15
    ICMP_CHECKSUM = 16
    VNET_HEADER = 17
    VNET_GSO = 18
    FRAME_EMPTY = 19
    FRAME_TOO_LONG = 20
    IPV6_MAPPED = 21

    # Addresses and ports
    NOT_OURS = 40
    MARTIAN_SOURCE = 41
    BROADCAST = 42
    ZERO_PORT = 43
    NO_SOCKET = 44
    NO_ENDPOINT = 45
    RECEIVE_QUEUE_FULL = 46
    ICMP_UNMATCHED = 47
    ICMP_OUT_OF_WINDOW = 48
    IP_REASSEMBLY = 49
    IP_OPTIONS = 50

    # Segment arrival (RFC 9293 section 3.10.7)
    LISTEN_RST = 60
    LISTEN_ACK = 61
    LISTEN_NO_SYN = 62
    LISTEN_FIN = 63
    SYN_QUEUE_FULL = 64
    ACCEPT_QUEUE_FULL = 65
    COOKIE_FAILED = 66
    SYN_SENT_ACK = 67
    SYN_SENT_RST = 68
    SYN_SENT_NO_SYN = 69
    PAWS = 70
    OLD_SEQUENCE = 71
    BEYOND_WINDOW = 72
    RST_CHALLENGED = 73
    SYN_CHALLENGED = 74
    NO_ACK = 75
    ACK_UNSENT = 76
    ACK_TOO_OLD = 77
    OLD_DATA = 78
    ZERO_WINDOW = 79
    BEYOND_FIN = 80
    DATA_AFTER_CLOSE = 81
    TIME_WAIT = 82
    REQUEST_WRONG_ACK = 83
    REQUEST_REPEATED = 84
    CLOSED = 85
    FIN_IN_WINDOW_GAP = 86
    FLAGLESS = 87
    NO_MEMORY = 88
    SYN_ACK_TEXT = 89


DROP_RULES: dict[Drop, tuple[str, str]] = {
    Drop.IP_TRUNCATED: ("a packet holds at least one whole IP header", "RFC 791 section 3.1; RFC 8200 section 3"),
    Drop.IP_VERSION: ("the version is 4 or 6", "RFC 1122 section 3.2.1.1"),
    Drop.IP_HEADER_LENGTH: ("an IPv4 header is 5 words or more and inside the packet", "RFC 791 section 3.1"),
    Drop.IP_TOTAL_LENGTH: (
        "the length in the header is neither below the header nor beyond the frame",
        "RFC 791 section 3.1; RFC 8200 section 3",
    ),
    Drop.IP_CHECKSUM: ("the IPv4 header checksum is right", "RFC 1122 section 3.2.1.2"),
    Drop.IP_FRAGMENT: (
        "a fragment carries data, ends within 65535 bytes, and is whole 8-byte units unless last",
        "RFC 791 section 3.2; RFC 8200 section 4.5",
    ),
    Drop.IPV6_EXTENSION: ("an extension header lies inside the packet", "RFC 8200 section 4.2"),
    Drop.IPV6_EXTENSION_CHAIN: ("no more extension headers than any sender needs", "RFC 8504 section 5.3"),
    Drop.TCP_TRUNCATED: ("a TCP header is 20 bytes or more", "RFC 9293 section 3.1"),
    Drop.TCP_DATA_OFFSET: ("the data offset is 5 words or more and inside the packet", "RFC 9293 section 3.1"),
    Drop.TCP_CHECKSUM: ("the TCP checksum is right", "RFC 9293 section 3.1, MUST-3"),
    Drop.UDP_TRUNCATED: ("a UDP header is 8 bytes", "RFC 768"),
    Drop.UDP_LENGTH: ("the UDP length is 8 or more and inside the packet", "RFC 768"),
    Drop.UDP_CHECKSUM: (
        "the UDP checksum is right, and present over IPv6",
        "RFC 1122 section 4.1.3.4; RFC 8200 section 8.1",
    ),
    Drop.ICMP_TRUNCATED: ("an ICMP message is 8 bytes or more", "RFC 792; RFC 4443 section 2.1"),
    Drop.ICMP_CHECKSUM: ("the ICMP checksum is right", "RFC 792; RFC 4443 section 2.3"),
    Drop.VNET_HEADER: ("a frame carries a whole virtio header that points inside it", "virtio 1.2 section 5.1.6"),
    Drop.VNET_GSO: ("a super-frame is of the protocol that its virtio header names", "virtio 1.2 section 5.1.6"),
    Drop.FRAME_EMPTY: ("a frame is not empty", "RFC 791 section 3.1"),
    Drop.FRAME_TOO_LONG: (
        "a packet is at most 65535 bytes, over IPv6 beside its header",
        "RFC 791 section 3.1; RFC 8200 section 3",
    ),
    Drop.IPV6_MAPPED: (
        "no address in an IPv6 header is an IPv4-mapped one",
        "RFC 4942 section 2.2; Linux ip6_rcv_core",
    ),
    Drop.NOT_OURS: ("the destination is one of the stack's own addresses", "RFC 1122 section 3.2.1.3"),
    Drop.MARTIAN_SOURCE: (
        "the source is a unicast address that may be on the wire",
        "RFC 1122 section 3.2.1.3; RFC 9293 MUST-63",
    ),
    Drop.BROADCAST: ("TCP answers no broadcast and no multicast", "RFC 9293 section 3.9.2.3, MUST-57"),
    Drop.ZERO_PORT: ("no port is zero", "RFC 6335 section 6"),
    Drop.NO_SOCKET: ("a connection or a listener has this address and port", "RFC 9293 section 3.10.7.1"),
    Drop.NO_ENDPOINT: ("a UDP endpoint has this address and port", "RFC 1122 section 4.1.3.1"),
    Drop.RECEIVE_QUEUE_FULL: ("the receive queue has room (SO_RCVBUF)", "Linux UdpRcvbufErrors"),
    Drop.ICMP_UNMATCHED: ("an ICMP error quotes a packet of a connection that is here", "RFC 5927 section 4"),
    Drop.ICMP_OUT_OF_WINDOW: ("an ICMP error quotes a sequence number in flight", "RFC 5927 section 4.1"),
    Drop.IP_REASSEMBLY: (
        "fragments fit together, in time and in memory",
        "RFC 791 section 3.2; RFC 5722; RFC 8200 section 4.5",
    ),
    Drop.IP_OPTIONS: ("an IPv4 option has the length and the pointer that its kind asks for", "RFC 791 section 3.1"),
    Drop.LISTEN_RST: ("LISTEN ignores RST", "RFC 9293 section 3.10.7.2, first"),
    Drop.LISTEN_ACK: ("an ACK in LISTEN acknowledges nothing that was sent", "RFC 9293 section 3.10.7.2, second"),
    Drop.LISTEN_NO_SYN: ("LISTEN takes a SYN only", "RFC 9293 section 3.10.7.2, third"),
    Drop.LISTEN_FIN: ("a SYN carries no FIN", "Linux tcp_rcv_state_process"),
    Drop.SYN_QUEUE_FULL: ("the SYN queue has room", "tcp_max_syn_backlog; RFC 4987"),
    Drop.ACCEPT_QUEUE_FULL: ("the accept queue has room", "listen(2), somaxconn"),
    Drop.COOKIE_FAILED: ("an ACK without a request carries a valid SYN cookie", "RFC 4987 section 3.6"),
    Drop.SYN_SENT_ACK: ("an ACK in SYN-SENT acknowledges our SYN", "RFC 9293 section 3.10.7.3, first"),
    Drop.SYN_SENT_RST: ("a RST in SYN-SENT acknowledges our SYN", "RFC 9293 section 3.10.7.3, second"),
    Drop.SYN_SENT_NO_SYN: ("SYN-SENT waits for a SYN or a RST", "RFC 9293 section 3.10.7.3, fifth"),
    Drop.PAWS: ("a timestamp does not go back", "RFC 7323 section 5.3, R1"),
    Drop.OLD_SEQUENCE: (
        "the segment ends at or behind the left edge of the window",
        "RFC 9293 section 3.10.7.4, first",
    ),
    Drop.BEYOND_WINDOW: ("the segment begins before the right edge of the window", "RFC 9293 section 3.10.7.4, first"),
    Drop.RST_CHALLENGED: ("a RST has exactly the next sequence number", "RFC 5961 section 3.2"),
    Drop.SYN_CHALLENGED: ("a synchronized connection takes no SYN", "RFC 5961 section 4.2"),
    Drop.NO_ACK: ("a segment of a synchronized connection carries an ACK", "RFC 9293 section 3.10.7.4, fifth"),
    Drop.ACK_UNSENT: ("an ACK acknowledges no more than was sent", "RFC 9293 section 3.10.7.4, fifth"),
    Drop.ACK_TOO_OLD: ("an ACK is at most a window behind", "RFC 5961 section 5.2"),
    Drop.OLD_DATA: ("the text was received before", "RFC 9293 section 3.10.7.4, seventh"),
    Drop.ZERO_WINDOW: ("text arrives inside an open window", "RFC 9293 section 3.10.7.4, first"),
    Drop.BEYOND_FIN: ("no text lies behind the peer's FIN", "RFC 9293 section 3.10.7.4, seventh"),
    Drop.DATA_AFTER_CLOSE: ("text arrives while somebody can read it", "RFC 9293 section 3.6.1; RFC 2525 section 2.17"),
    Drop.TIME_WAIT: (
        "TIME-WAIT takes a FIN again, or a SYN of a new connection",
        "RFC 9293 section 3.10.7.4; RFC 6191",
    ),
    Drop.REQUEST_WRONG_ACK: ("the third ACK acknowledges our SYN", "RFC 9293 section 3.10.7.4, fifth"),
    Drop.REQUEST_REPEATED: ("a repeated SYN is answered with the same SYN-ACK", "RFC 9293 section 3.10.7.4, fourth"),
    Drop.CLOSED: ("the connection still lives", "RFC 9293 section 3.10.7.1"),
    Drop.FIN_IN_WINDOW_GAP: ("a FIN counts once all before it is here", "RFC 9293 section 3.10.7.4, eighth"),
    Drop.FLAGLESS: ("a segment carries SYN, ACK or RST", "RFC 9293 section 3.10.7.4, fifth"),
    Drop.SYN_ACK_TEXT: ("a SYN-ACK carries neither text nor FIN", "Linux tcp_rcv_synsent_state_process"),
    Drop.NO_MEMORY: ("the stack has room for what the segment needs", "Linux TCPRcvQDrop"),
}
