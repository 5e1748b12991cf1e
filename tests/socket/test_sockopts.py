"""SocketOptions: copy() copies every field (they are written out one by one for the compiler)."""

from __future__ import annotations

from ustack.sockopts import SocketOptions


def test_copy_copies_every_field() -> None:
    record = SocketOptions()
    for number, name in enumerate(vars(SocketOptions())):
        kind = type(getattr(record, name))
        value: object = number + 1000
        if kind is bool:
            value = not getattr(record, name)
        elif kind is str:
            value = f"value {number}"
        elif kind is bytes:
            value = b"value %d" % number
        setattr(record, name, value)
    twin = record.copy()
    assert vars(twin) == vars(record)
    twin.nodelay = not twin.nodelay
    assert twin.nodelay != record.nodelay
