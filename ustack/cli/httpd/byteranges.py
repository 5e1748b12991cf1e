"""The Range header of RFC 9110 section 14, for byte ranges."""

from __future__ import annotations

import re

from ustack.cli.httpd.intake import number

MOST_RANGES = 16
"""More ranges than this are answered with the whole file: RFC 9110 section 14.2 lets a server ignore
what looks like an attack of many small ranges."""

_SPEC = re.compile(r"\s*([0-9]*)\s*-\s*([0-9]*)\s*\Z")


class UnsatisfiableError(ValueError):
    """No range of the header lies within the file: 416."""


def parse_ranges(header: str, size: int) -> list[tuple[int, int]]:
    """Half-open ranges [start, end) of a file of ``size`` bytes; [] when the header must be ignored.

    Raises UnsatisfiableError when the header is right and none of its ranges can be served.
    """
    unit, equals, specs = header.partition("=")
    if unit.strip().lower() != "bytes" or not equals:
        return []
    parts = [part for part in specs.split(",") if part.strip()]
    if not parts or len(parts) > MOST_RANGES:
        return []
    found = []
    for part in parts:
        match = _SPEC.match(part)
        if match is None or match[1] == match[2] == "":
            return []
        first, last = match[1], match[2]
        if first == "":
            start, end = max(0, size - number(last)), size
        else:
            start, end = number(first), min(size, number(last) + 1) if last else size
            if last and number(last) < number(first):
                return []
        if start < end:
            found.append((start, end))
    if not found:
        raise UnsatisfiableError(header)
    if len(found) > 1 and sum(end - start for start, end in found) > size:
        return []  # overlapping ranges that ask for more than there is
    return found
