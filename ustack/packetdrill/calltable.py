"""The system calls by name: for each a function that evaluates arguments, makes the call and compares what it gave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ustack.packetdrill.callnull import is_null, prepare_null
from ustack.packetdrill.calls import AF_INET, AF_INET6, Caller, Outcome, Prepared, compare_address
from ustack.packetdrill.config import IPV4
from ustack.packetdrill.errors import Mismatch, Unsupported
from ustack.packetdrill.hints import did_you_mean
from ustack.packetdrill.structs import (
    Differences,
    check_control,
    check_value,
    integer,
    members,
    pack_control,
    pack_value,
    unknown_name,
)
from ustack.packetdrill.symbols import SYMBOLS
from ustack.packetdrill.system import SocketAddress
from ustack.packetdrill.tree import Array, Expression, Number, Record, Supplied, SystemCall, Text

_CONTROL_ROOM: Final = 1024


def prepare(caller: Caller, call: SystemCall) -> Prepared:
    """Raises Unsupported for a call, a constant or a structure that is not offered."""
    make = _CALLS.get(call.name)
    if make is None:
        raise Unsupported(f"{call.name}()", did_you_mean(call.name, _CALLS))
    if call.errno is not None and call.errno not in SYMBOLS:
        raise unknown_name(call.errno)
    least, most, build = make
    if not least <= len(call.arguments) <= most:
        wants = str(least) if least == most else f"{least} to {most}"
        usage = f"; it is written {_USAGE[call.name]}" if call.name in _USAGE else ""
        raise Mismatch(f"{call.name}() takes {wants} arguments, not {len(call.arguments)}{usage}")
    return prepare_null(caller, call) or build(caller, call)


def _payload(value: Expression, count: int) -> bytes:
    if isinstance(value, Text) and value.value.strip("\0"):
        raise Unsupported("a buffer with contents (payloads are zeros)")
    return bytes(max(count, 0))


def _zeros(outcome: Outcome) -> Differences:
    data = outcome.extra
    return [("data", "zeros", f"{data[:24]!r}...")] if isinstance(data, bytes) and any(data) else []


def _silent(action: Callable[..., None], *arguments: object) -> Callable[[], Outcome]:
    """A call that returns 0 or fails."""

    def run() -> Outcome:
        action(*arguments)
        return Outcome(0)

    return run


# One function a call: (caller, call) -> Prepared


def _socket(caller: Caller, call: SystemCall) -> Prepared:
    domain, kind, protocol = call.arguments
    family = AF_INET if caller.config.ip_version == IPV4 else AF_INET6
    family = family if isinstance(domain, Supplied) else integer(domain)
    kind_number, protocol_number = integer(kind), integer(protocol)
    run = lambda: Outcome(caller.system.socket(family, kind_number, protocol_number))  # noqa: E731
    return Prepared(call, run, makes_descriptor=True)


def _bind(caller: Caller, call: SystemCall) -> Prepared:
    fd, address = caller.descriptor(call.arguments[0]), caller.address(call.arguments[1], caller.local())
    return Prepared(call, _silent(caller.system.bind, fd, address))


def _connect(caller: Caller, call: SystemCall) -> Prepared:
    fd = caller.descriptor(call.arguments[0])
    if caller.is_unspecified(call.arguments[1]):
        return Prepared(call, _silent(caller.system.disconnect, fd))
    address = caller.address(call.arguments[1], caller.remote())
    return Prepared(call, _silent(caller.system.connect, fd, address))


def _listen(caller: Caller, call: SystemCall) -> Prepared:
    fd, backlog = caller.descriptor(call.arguments[0]), integer(call.arguments[1])
    return Prepared(call, _silent(caller.system.listen, fd, backlog))


def _accept(caller: Caller, call: SystemCall) -> Prepared:
    fd = caller.descriptor(call.arguments[0])

    def run() -> Outcome:
        made, address = caller.system.accept(fd)
        return Outcome(made, extra=address)

    def check(outcome: Outcome) -> Differences:
        return compare_address(call.arguments[1], outcome.extra, "address")

    return Prepared(call, run, check, makes_descriptor=True)


def _sizes(value: Expression) -> list[int]:
    """The lengths of an iovec: ``[{..., 1000}, {..., 500}]``."""
    if not isinstance(value, Array):
        raise Unsupported("an iovec that is not [{..., N}]")
    sizes: list[int] = []
    for item in value.items:
        if not isinstance(item, Record) or not item.members:
            raise Unsupported("an iovec that is not [{..., N}]")
        sizes.append(integer(item.members[-1].value))
    return sizes


def _read(caller: Caller, call: SystemCall) -> Prepared:
    fd = caller.descriptor(call.arguments[0])
    sizes = _sizes(call.arguments[1]) if call.name == "readv" else [integer(call.arguments[2])]

    def run() -> Outcome:
        data = caller.system.read(fd, sizes)
        return Outcome(len(data), extra=data)

    return Prepared(call, run, _zeros)


def _receive(caller: Caller, call: SystemCall) -> Prepared:
    fd, size, flags = caller.descriptor(call.arguments[0]), integer(call.arguments[2]), integer(call.arguments[3])

    def run() -> Outcome:
        data, sender = caller.system.receive(fd, size, flags)
        return Outcome(len(data), extra=(data, sender))

    def check(outcome: Outcome) -> Differences:
        data, sender = outcome.extra
        found = _zeros(Outcome(outcome.value, extra=data))
        return found + (compare_address(call.arguments[4], sender, "address") if call.name == "recvfrom" else [])

    return Prepared(call, run, check)


def _receive_message(caller: Caller, call: SystemCall) -> Prepared:
    fd, flags = caller.descriptor(call.arguments[0]), integer(call.arguments[2])
    message = members(call.arguments[1], "a message header")
    size = sum(_sizes(message["msg_iov"])) if "msg_iov" in message else 0

    def run() -> Outcome:
        got = caller.system.receive_message(fd, size, _CONTROL_ROOM, flags)
        return Outcome(len(got[0]), extra=got)

    def check(outcome: Outcome) -> Differences:
        data, control, got_flags, sender = outcome.extra
        found = [] if not any(data) else [("data", "zeros", repr(data[:24]))]
        want = message.get("msg_flags")
        if want is not None and not isinstance(want, Supplied) and integer(want) != got_flags:
            found.append(("msg_flags", hex(integer(want)), hex(got_flags)))
        if "msg_name" in message:
            found += compare_address(message["msg_name"], sender, "msg_name")
        if "msg_control" in message:
            found += check_control(message["msg_control"], control, caller.epoch)
        return found

    return Prepared(call, run, check)


def _write(caller: Caller, call: SystemCall) -> Prepared:
    fd = caller.descriptor(call.arguments[0])
    if call.name == "writev":
        data = bytes(sum(_sizes(call.arguments[1])))
    else:
        data = _payload(call.arguments[1], integer(call.arguments[2]))
    return Prepared(call, lambda: Outcome(caller.system.write(fd, data)))


def _send(caller: Caller, call: SystemCall) -> Prepared:
    fd, flags = caller.descriptor(call.arguments[0]), integer(call.arguments[3])
    data = _payload(call.arguments[1], integer(call.arguments[2]))
    address: SocketAddress | None = None
    if call.name == "sendto" and not (isinstance(call.arguments[4], Number)):
        named = call.arguments[4]
        address = None if isinstance(named, Number) or is_null(named) else caller.address(named, caller.remote())
    return Prepared(call, lambda: Outcome(caller.system.send(fd, data, flags, address)))


def _send_message(caller: Caller, call: SystemCall) -> Prepared:
    fd, flags = caller.descriptor(call.arguments[0]), integer(call.arguments[2])
    message = members(call.arguments[1], "a message header")
    data = bytes(sum(_sizes(message["msg_iov"])) if "msg_iov" in message else 0)
    control = pack_control(message.get("msg_control"))
    named = message.get("msg_name")
    fast_open = flags & SYMBOLS["MSG_FASTOPEN"]
    address: SocketAddress | None = None
    if named is not None and not is_null(named) and (fast_open or not isinstance(named, Supplied)):
        address = caller.address(named, caller.remote())
    return Prepared(call, lambda: Outcome(caller.system.send_message(fd, data, control, flags, address)))


def _shutdown(caller: Caller, call: SystemCall) -> Prepared:
    fd, how = caller.descriptor(call.arguments[0]), integer(call.arguments[1])
    return Prepared(call, _silent(caller.system.shutdown, fd, how))


def _close(caller: Caller, call: SystemCall) -> Prepared:
    fd = caller.descriptor(call.arguments[0])
    return Prepared(call, _silent(caller.system.close, fd))


def _get_option(caller: Caller, call: SystemCall) -> Prepared:
    fd, level, name = (
        caller.descriptor(call.arguments[0]),
        integer(call.arguments[1]),
        integer(call.arguments[2]),
    )
    length_given = call.arguments[4]
    if isinstance(length_given, Array) and len(length_given.items) == 1:
        length_given = length_given.items[0]
    length = 4096 if isinstance(length_given, Supplied) else integer(length_given)
    value = call.arguments[3]

    def run() -> Outcome:
        return Outcome(0, extra=caller.system.get_option(fd, level, name, length))

    def check(outcome: Outcome) -> Differences:
        got: bytes = outcome.extra
        found = check_value(value, got, "value")
        if not isinstance(length_given, Supplied) and len(got) != length:
            found.append(("length", str(length), str(len(got))))
        return found

    return Prepared(call, run, check)


def _set_option(caller: Caller, call: SystemCall) -> Prepared:
    fd, level, name = (
        caller.descriptor(call.arguments[0]),
        integer(call.arguments[1]),
        integer(call.arguments[2]),
    )
    length = integer(call.arguments[4])
    if is_null(call.arguments[3]):
        return Prepared(call, _silent(caller.system.set_option, fd, level, name, None, length))
    data = pack_value(call.arguments[3], length)
    data = data[:length].ljust(max(length, 0), b"\0")
    return Prepared(call, _silent(caller.system.set_option, fd, level, name, data, length))


def _fcntl(caller: Caller, call: SystemCall) -> Prepared:
    fd, command = caller.descriptor(call.arguments[0]), integer(call.arguments[1])
    argument = integer(call.arguments[2]) if len(call.arguments) > 2 else 0
    return Prepared(call, lambda: Outcome(caller.system.fcntl(fd, command, argument)))


def _ioctl(caller: Caller, call: SystemCall) -> Prepared:
    fd, request = caller.descriptor(call.arguments[0]), integer(call.arguments[1])
    value: Expression = call.arguments[2] if len(call.arguments) > 2 else Supplied()
    sets = request == SYMBOLS["FIONBIO"]
    argument = integer(value) if sets else 0

    def check(outcome: Outcome) -> Differences:
        if sets or isinstance(value, Supplied):
            return []
        want = integer(value)
        return [] if outcome.extra == want else [("value", str(want), str(outcome.extra))]

    return Prepared(call, lambda: Outcome(0, extra=caller.system.ioctl(fd, request, argument)), check)


def _poll(caller: Caller, call: SystemCall) -> Prepared:
    entries = call.arguments[0].items if isinstance(call.arguments[0], Array) else [call.arguments[0]]
    watched = [members(entry, "a pollfd") for entry in entries]
    wanted = [(caller.descriptor(entry["fd"]), integer(entry["events"])) for entry in watched]
    timeout = integer(call.arguments[2])

    def run() -> Outcome:
        ready = caller.system.poll(wanted, timeout)
        return Outcome(sum(map(bool, ready)), extra=ready)

    def check(outcome: Outcome) -> Differences:
        found: Differences = []
        for at, (entry, got) in enumerate(zip(watched, outcome.extra, strict=True)):
            want = entry.get("revents", Supplied())
            if not isinstance(want, Supplied) and integer(want) != got:
                found.append((f"[{at}].revents", _mask_text(integer(want)), _mask_text(got)))
        return found

    return Prepared(call, run, check)


def _mask_text(mask: int) -> str:
    names = [name for name in ("IN", "PRI", "OUT", "ERR", "HUP", "RDHUP") if mask & SYMBOLS["POLL" + name]]
    return "|".join("POLL" + name for name in names) or str(mask)


def _epoll_create(caller: Caller, call: SystemCall) -> Prepared:
    number = integer(call.arguments[0])
    size, flags = (1, number) if call.name == "epoll_create1" else (number, 0)
    return Prepared(call, lambda: Outcome(caller.system.epoll_create(size, flags)), makes_descriptor=True)


def _epoll_data(fields: dict[str, Expression]) -> int:
    """The user's data: as the script writes it, so that descriptors stay the script's numbers."""
    return next((integer(fields[name]) for name in ("fd", "u32", "u64", "ptr") if name in fields), 0)


def _epoll_control(caller: Caller, call: SystemCall) -> Prepared:
    epoll, operation = caller.descriptor(call.arguments[0]), integer(call.arguments[1])
    fd = caller.descriptor(call.arguments[2])
    events = data = 0
    if isinstance(call.arguments[3], Record | Array):
        fields = members(call.arguments[3], "an epoll_event")
        events, data = integer(fields["events"]), _epoll_data(fields)
    return Prepared(call, _silent(caller.system.epoll_control, epoll, operation, fd, events, data))


def _epoll_wait(caller: Caller, call: SystemCall) -> Prepared:
    epoll, most, timeout = caller.descriptor(call.arguments[0]), integer(call.arguments[2]), integer(call.arguments[3])
    expected = call.arguments[1]

    def run() -> Outcome:
        ready = caller.system.epoll_wait(epoll, most, timeout)
        return Outcome(len(ready), extra=ready)

    def check(outcome: Outcome) -> Differences:
        if isinstance(expected, Supplied):
            return []
        entries = expected.items if isinstance(expected, Array) else [expected]
        found: Differences = []
        for at, (entry, (events, data)) in enumerate(zip(entries, outcome.extra, strict=False)):
            fields = members(entry, "an epoll_event")
            want = fields.get("events", Supplied())
            if not isinstance(want, Supplied) and integer(want) != events:
                found.append((f"[{at}].events", _mask_text(integer(want)), _mask_text(events)))
            if any(name != "events" for name in fields) and _epoll_data(fields) != data:
                found.append((f"[{at}].data", str(_epoll_data(fields)), str(data)))
        return found

    return Prepared(call, run, check)


def _pipe(caller: Caller, call: SystemCall) -> Prepared:
    flags = integer(call.arguments[1]) if len(call.arguments) > 1 else 0
    named = call.arguments[0]
    labels = [integer(item) for item in named.items] if isinstance(named, Array) else []

    def run() -> Outcome:
        ends = caller.system.pipe(flags)
        caller.labels.update(zip(labels, ends, strict=False))
        return Outcome(0, extra=ends)

    return Prepared(call, run)


def _splice(caller: Caller, call: SystemCall) -> Prepared:
    source, destination = caller.descriptor(call.arguments[0]), caller.descriptor(call.arguments[2])
    count, flags = integer(call.arguments[4]), integer(call.arguments[5])
    return Prepared(call, lambda: Outcome(caller.system.splice(source, destination, count, flags)))


def _send_file(caller: Caller, call: SystemCall) -> Prepared:
    destination, source = caller.descriptor(call.arguments[0]), caller.descriptor(call.arguments[1])
    named = call.arguments[2]
    offset = None if isinstance(named, Supplied) or is_null(named) else integer(named)
    count = integer(call.arguments[3])
    return Prepared(call, lambda: Outcome(caller.system.send_file(destination, source, offset, count)))


def _open(caller: Caller, call: SystemCall) -> Prepared:
    path = call.arguments[0].value if isinstance(call.arguments[0], Text) else "/dev/zero"
    flags = integer(call.arguments[1])
    mode = integer(call.arguments[2]) if len(call.arguments) > 2 else 0o644
    return Prepared(call, lambda: Outcome(caller.system.open(path, flags, mode)), makes_descriptor=True)


_USAGE: Final = {
    "socket": "socket(..., SOCK_STREAM, IPPROTO_TCP) = 3",
    "bind": "bind(3, ..., ...) = 0",
    "listen": "listen(3, 1) = 0",
    "accept": "accept(3, ..., ...) = 4",
    "connect": "connect(3, ..., ...) = 0",
    "read": "read(4, ..., 1000) = 1000",
    "recv": "recv(4, ..., 1000, 0) = 1000",
    "write": "write(4, ..., 1000) = 1000",
    "send": "send(4, ..., 1000, 0) = 1000",
    "setsockopt": "setsockopt(4, SOL_TCP, TCP_NODELAY, [1], 4) = 0",
    "getsockopt": "getsockopt(4, SOL_SOCKET, SO_ERROR, [0], [4]) = 0",
    "poll": "poll([{fd=4, events=POLLIN, revents=POLLIN}], 1, 0) = 1",
    "epoll_ctl": "epoll_ctl(5, EPOLL_CTL_ADD, 4, {events=EPOLLIN, fd=4}) = 0",
    "epoll_wait": "epoll_wait(5, {events=EPOLLIN, fd=4}, 1, 0) = 1",
}
"""A call with its arguments, for those who left some out."""

_CALLS: Final[dict[str, tuple[int, int, Callable[[Caller, SystemCall], Prepared]]]] = {
    "socket": (3, 3, _socket),
    "bind": (3, 3, _bind),
    "listen": (2, 2, _listen),
    "accept": (3, 3, _accept),
    "connect": (3, 3, _connect),
    "read": (3, 3, _read),
    "readv": (3, 3, _read),
    "recv": (4, 4, _receive),
    "recvfrom": (6, 6, _receive),
    "recvmsg": (3, 3, _receive_message),
    "write": (3, 3, _write),
    "writev": (3, 3, _write),
    "send": (4, 4, _send),
    "sendto": (6, 6, _send),
    "sendmsg": (3, 3, _send_message),
    "fcntl": (2, 3, _fcntl),
    "ioctl": (2, 3, _ioctl),
    "close": (1, 1, _close),
    "shutdown": (2, 2, _shutdown),
    "getsockopt": (5, 5, _get_option),
    "setsockopt": (5, 5, _set_option),
    "poll": (3, 3, _poll),
    "open": (2, 3, _open),
    "sendfile": (4, 4, _send_file),
    "epoll_create": (1, 1, _epoll_create),
    "epoll_create1": (1, 1, _epoll_create),
    "epoll_ctl": (4, 4, _epoll_control),
    "epoll_wait": (4, 4, _epoll_wait),
    "pipe": (1, 2, _pipe),
    "pipe2": (2, 2, _pipe),
    "splice": (6, 6, _splice),
}
