"""What we send: sequence space, buffer, loss recovery, congestion, pacing (RFC 9293 section 3.3.1, send variables).

Sequence numbers are unbounded ints: wrapped once where they leave (``emit.py``). A byte of the stream has sequence
number ``iss + 1 + offset`` and lies at ``offset`` of the send ring. A sender knows nothing of the receiver beside it.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from ustack.congestion.base import CongestionControl
from ustack.recovery.pacing import Pacer
from ustack.recovery.prr import Prr
from ustack.recovery.rack import TailLossProbe
from ustack.recovery.scoreboard import Scoreboard
from ustack.recovery.undo import Undo
from ustack.ring import SendRing
from ustack.tcp.common import Common
from ustack.tcp.constants import DEFAULT_MSS_V4
from ustack.tcp.emit import Emitter
from ustack.tcp.sender.chrono import Chrono
from ustack.tcp.sender.cwnd_validation import Validation

UNBOUNDED: Final = 1 << 40
"""Bytes: the ring itself holds whatever ``buffer.py`` lets in."""
NEVER: Final = 1 << 60
"""Above every sequence number."""

CA_OPEN: Final = 0
CA_DISORDER: Final = 1
CA_CWR: Final = 2
CA_RECOVERY: Final = 3
CA_LOSS: Final = 4


class AckNews:
    """What the ACK at hand told beside the scoreboard's result; one object, filled anew each time."""

    def __init__(self) -> None:
        self.prior_una: int = 0
        self.is_duplicate: bool = False
        """It moved nothing, carried nothing and left the window alone (RFC 5681 section 2)."""
        self.is_old: bool = False
        """It was overtaken by one that acknowledged more."""
        self.ts_ecr: int = -1
        self.ece: bool = False
        self.lost: int = 0
        self.delivered: int = 0
        """What arrived, for the congestion window: whole segments, however short they were; bytes."""
        self.rtt: int = -1
        """For congestion control: of the newest segment acknowledged, ns; -1 none."""


class SendTotals:
    """Counts of TCP_INFO that only grow."""

    def __init__(self) -> None:
        self.data_segs_out: int = 0
        self.bytes_sent: int = 0
        """For the first time."""
        self.bytes_retrans: int = 0
        self.bytes_acked: int = 0
        self.rtos: int = 0
        self.rto_recoveries: int = 0


class Path:
    """What the way to the peer carries, as the Stack last said."""

    def __init__(self) -> None:
        self.mtu: int = 1500
        """Bytes of the largest packet."""
        self.version: int = 0
        self.until: int = 0
        """Which news of paths ``mtu`` knows, and when it counts no more (ns, 0: always)."""


class SendBuffer:
    """The send buffer by Linux's count (``buffer.py``), and the writer who waits for room in it."""

    def __init__(self, size: int) -> None:
        self.size: int = size
        """Bytes that it may hold."""
        self.chunks: list[int] = []
        """Offsets at which Linux's buffers would end, ascending, above snd_una."""
        self.writer_waits: bool = False
        self.lacks_memory: bool = False
        """The host had no memory for the last write: the next ACK lets the writer try again."""
        self.may_have_room: bool = False
        """An ACK came while a writer waits: once the sender has sent what it let go, the writer may go on."""


class Marks:
    """Where the text is to be cut and pushed: by the application's wish, or as it left first."""

    def __init__(self, iss: int) -> None:
        self.more: bool = False
        """The last write said MSG_MORE, and no ACK has come since: a short segment waits."""
        self.push_now: bool = False
        """TCP_NODELAY was set, or the cork pulled, while text waited: it goes at once, short or not."""
        self.push_at: int = -1
        """Offset of the ring at which the last write without MSG_MORE ended: PSH."""
        self.records: list[int] = []
        """Sequence numbers at which records end (MSG_EOR), ascending, above snd_una: no segment reaches over one."""
        self.small_sent: int = iss
        """End of the last segment sent short of the MSS (Minshall's variant of Nagle)."""
        self.cuts: list[int] = []
        """Where runs began that left while others were out, ascending, above snd_una: what is resent ends there, as in
        Linux, where it is the same buffer. Runs of GSO_MAX and more are ours to choose, and not kept."""
        self.pushes: list[int] = []
        """Ends of runs that left with PSH, ascending, above snd_una: what is resent keeps its PSH."""

    def note_push(self, end: int) -> None:
        """The run that ends at ``end`` leaves with PSH."""
        if not self.pushes or self.pushes[-1] < end:
            self.pushes.append(end)

    def forget(self, ack: int) -> None:
        """All below ``ack`` is acknowledged."""
        if self.pushes:
            _drop_upto(self.pushes, ack)
        if self.cuts:
            _drop_upto(self.cuts, ack)
        if self.records:
            _drop_upto(self.records, ack)


def _drop_upto(ascending: list[int], limit: int) -> None:
    """Takes ``limit`` and what is below it out of a list that is not empty."""
    if ascending[-1] <= limit:
        ascending.clear()
    elif ascending[0] <= limit:
        del ascending[: bisect_right(ascending, limit)]


class Probing:
    """Probes of a shut window, and of a silent peer (keepalive), that nothing has answered."""

    def __init__(self) -> None:
        self.sent: int = 0
        self.since: int = 0
        """When the window was found shut, ns; 0: it is not."""
        self.backoff: int = 0


class Sender:
    """The sending half of one connection."""

    def __init__(self, common: Common, emitter: Emitter, iss: int, now: int) -> None:
        self.host = common.host
        self.flow = common.flow
        self.options = common.options
        self.timers = common.timers
        self.owed = common.owed
        self.agreed = common.agreed
        self.ecn = common.ecn
        self.rtt = common.rtt
        self.emitter = emitter
        self.iss: int = iss
        self.snd_una: int = iss
        self.snd_nxt: int = iss
        self.snd_wnd: int = 0
        self.snd_wl1: int = 0
        self.max_window: int = 0
        self.snd_up: int = iss
        """Behind the last urgent byte; nothing is urgent while snd_una has reached it."""
        self.path = Path()
        self.snd_mss: int = DEFAULT_MSS_V4
        """Bytes of text in a full segment: the MSS less the options that every segment carries."""
        self.send_ring: SendRing = self.host.rings.send_ring(UNBOUNDED)
        self.buffer = SendBuffer(self.options.sndbuf or self.host.settings.tcp_wmem[1])
        self.marks = Marks(iss)
        self.fin_queued: bool = False
        """The application wrote its last byte: a FIN stands behind the ring's end."""
        self.fin_joins: bool = False
        """Text still waited then, and the FIN shares its PSH, even where a small window parts them."""
        self.last_sent_at: int = 0
        self.ack_at: int = now
        """When the last acceptable ACK came."""
        self.resends_wait: bool = False
        """The last ACK made the losses doubtful: what is marked lost waits for the next ACK or timer."""
        self.send_new_first: bool = False
        """F-RTO, step 2b: new data before what seems lost (RFC 5682)."""
        self._begin_repairing(iss)
        self.chrono = Chrono()
        self.totals = SendTotals()

    def _begin_repairing(self, iss: int) -> None:
        """Loss, time and congestion."""
        self.scoreboard = self.new_scoreboard(iss)
        self.congestion: CongestionControl | None = None
        self.validation = Validation(iss)
        self.prr = Prr(DEFAULT_MSS_V4)
        self.undo = Undo()
        self.pacer = Pacer(DEFAULT_MSS_V4)
        self.tlp = TailLossProbe()
        self.news = AckNews()
        self.ca_state: int = CA_OPEN
        self.high_seq: int = iss
        """Recovery ends when this is acknowledged (RFC 6675's RecoveryPoint)."""
        self.retransmits: int = 0
        self.retrans_since: int = 0
        """When the oldest unacknowledged byte was first resent; 0: it was not."""
        self.probing = Probing()
        self.soft_error: int = 0
        """An ICMP error that ended nothing: the errno for the day the connection gives up."""

    def new_scoreboard(self, seq: int) -> Scoreboard:
        """An empty one at ``seq``, which bears as much reordering as the settings say. Of tcp_recovery two bits count:
        RACK itself is always on (Linux 6.17)."""
        settings = self.host.settings
        scoreboard = Scoreboard(seq)
        scoreboard.reordering = settings.tcp_reordering
        scoreboard.max_reordering = settings.tcp_max_reordering
        scoreboard.rack.is_static = bool(settings.tcp_recovery & 2)
        scoreboard.rack.ignores_dupthresh = bool(settings.tcp_recovery & 4)
        return scoreboard

    # Questions

    def cwnd(self) -> int:
        """The congestion window, bytes."""
        control = self.congestion
        return control.cwnd if control is not None else self.snd_mss * self.host.settings.tcp_init_cwnd

    def in_flight(self) -> int:
        """What of cwnd is taken, bytes: each wire segment in the network takes a whole one, however short (Linux)."""
        return self.scoreboard.segs_in_flight * self.snd_mss

    def stream_end(self) -> int:
        """Sequence number behind the last byte that the application wrote (and behind the FIN, if queued)."""
        return self.iss + 1 + self.send_ring.end + (1 if self.fin_queued else 0)

    def unsent(self) -> int:
        """Bytes (and the FIN) that wait to be sent for the first time."""
        return self.stream_end() - self.snd_nxt

    def run_end(self, start: int) -> int:
        """Where the run that holds the byte ``start`` ended when it left first, if that is known; NEVER else."""
        cuts = self.marks.cuts
        if not cuts or cuts[-1] <= start:
            return NEVER
        return cuts[bisect_right(cuts, start)]

    def record_end(self, start: int) -> int:
        """Where the record that holds the byte ``start`` ends (MSG_EOR); NEVER when none was ended since."""
        records = self.marks.records
        if not records or records[-1] <= start:
            return NEVER
        return records[bisect_right(records, start)]

    def is_opening(self) -> bool:
        """Our SYN is not acknowledged yet: SYN-SENT or SYN-RECEIVED."""
        return self.snd_una == self.iss

    def notsent_lowat(self) -> int:
        """TCP_NOTSENT_LOWAT, else tcp_notsent_lowat, bytes; all ones is no limit."""
        return self.options.notsent_lowat & 0xFFFFFFFF or self.host.settings.tcp_notsent_lowat & 0xFFFFFFFF
