"""SocketOptions: copy() copies every field (they are written out one by one for the compiler)."""

from __future__ import annotations

from ustack.sockopts import SocketOptions


def fields(record: SocketOptions) -> dict[str, object]:
    """By name. (The compiled class has no __dict__.)"""
    values = {name: getattr(record, name) for name in dir(record) if not name.startswith("_")}
    return {name: value for name, value in values.items() if not callable(value)}


def test_copy_copies_every_field() -> None:
    record = SocketOptions()
    assert len(fields(record)) > 50
    for number, name in enumerate(fields(SocketOptions())):
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
    assert fields(twin) == fields(record)
    twin.nodelay = not twin.nodelay
    assert twin.nodelay != record.nodelay
