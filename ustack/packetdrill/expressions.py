"""The part of the parser that reads system calls: expressions, results, notes."""

from __future__ import annotations

import re
from typing import Final

from ustack.packetdrill.cursor import Cursor
from ustack.packetdrill.tree import (
    Application,
    Array,
    Binary,
    Expression,
    Member,
    Number,
    Record,
    Supplied,
    Symbol,
    SystemCall,
    Text,
    Unary,
)

_NAME: Final = re.compile(r"[A-Za-z_]\w*")
_NUMBER: Final = re.compile(r"(-?)(?:0[xX]([0-9a-fA-F]+)|(0[0-7]+(?![89.]))|(\d+))(?:[uUlL]+\b)?")
_STRING: Final = re.compile(r'"((?:\\.|[^"\\\n])*)"')
_ESCAPE: Final = re.compile(r"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)")
_ERRNO: Final = re.compile(r"E[A-Z0-9]+\b")
_NOTE: Final = re.compile(r"\(([^()\n]*(?:\([^()\n]*\)[^()\n]*)*)\)")
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}

_SIZEOF: Final = re.compile(r"sizeof\s*\(\s*([A-Za-z_][\w ]*?)\s*\)")
SIZES: Final = {
    "char": 1, "short": 2, "int": 4, "unsigned": 4, "unsigned int": 4, "long": 8, "size_t": 8, "ssize_t": 8,
    "u8": 1, "u16": 2, "u32": 4, "s32": 4, "u64": 8, "uint8_t": 1, "uint16_t": 2, "uint32_t": 4, "int32_t": 4,
    "uint64_t": 8, "int64_t": 8, "socklen_t": 4, "struct linger": 8, "struct timeval": 16, "struct timespec": 16,
    "struct sockaddr_in": 16, "struct sockaddr_in6": 28, "struct sockaddr_storage": 128, "struct pollfd": 8,
    "struct epoll_event": 12,
}  # fmt: skip
"""Bytes of C's types on x86-64, for ``sizeof(TYPE)``."""

# Loosest first, as in C; operators of one row bind equally and from the left.
_LEVELS: Final = (("|",), ("^",), ("&",), ("<<", ">>"), ("+", "-"), ("*", "/", "%"))
_RESULT_LEVELS: Final = 4
"""A result is followed by a time: ``+`` and ``*`` begin one there."""


def parse_expression(cursor: Cursor, level: int = 0) -> Expression:
    """One argument or result."""
    if level == (_RESULT_LEVELS if cursor.in_result else len(_LEVELS)):
        return _unary(cursor)
    left = parse_expression(cursor, level + 1)
    while True:
        for operator in _LEVELS[level]:
            if cursor.take(operator):
                left = Binary(operator, left, parse_expression(cursor, level + 1))
                break
        else:
            return left


def _unary(cursor: Cursor) -> Expression:
    if cursor.take("~"):
        return Unary("~", _unary(cursor))
    number = cursor.match(_NUMBER)
    if number is not None:
        sign = -1 if number.group(1) else 1
        if number.group(2):
            return Number(sign * int(number.group(2), 16), 16)
        if number.group(3):
            return Number(sign * int(number.group(3), 8), 8)
        return Number(sign * int(number.group(4)))
    if cursor.take("..."):
        return Supplied()
    return _primary(cursor)


def _primary(cursor: Cursor) -> Expression:
    if cursor.take("("):
        inner = parse_expression(cursor)
        cursor.need(")", "after the parenthesised value")
        return inner
    if cursor.take("["):
        return Array(_sequence(cursor, "]"))
    if cursor.take("{"):
        return Record(_members(cursor))
    string = cursor.match(_STRING)
    if string is not None:
        cursor.take("...")  # a text may be cut short with dots, as strace does
        return Text(_ESCAPE.sub(_unescape, string.group(1)))
    if cursor.looking_at('"'):
        cursor.fail("a text that is not closed: expected another '\"' on this line")
    if (sized := cursor.match(_SIZEOF)) is not None:
        return _size_of(cursor, sized)
    name = cursor.match(_NAME)
    if name is None:
        cursor.expected("a value: a number, a NAME, \"text\", '...', [value] or {name=value}")
    if not cursor.in_result and cursor.take("("):
        return Application(name.group(), _sequence(cursor, ")"))
    return Symbol(name.group())


def _size_of(cursor: Cursor, found: re.Match[str]) -> Number:
    kind = " ".join(found.group(1).split())
    if kind not in SIZES:
        cursor.fail(f"the size of '{kind}' is not known here; known are {', '.join(SIZES)}", found.start(1))
    return Number(SIZES[kind])


def _unescape(found: re.Match[str]) -> str:
    what = found.group(1)
    if what[0] == "x":
        return chr(int(what[1:], 16))
    if what[0] in "01234567" and what not in _ESCAPES:
        return chr(int(what, 8) & 0xFF)
    return _ESCAPES.get(what, what)


def _sequence(cursor: Cursor, closing: str) -> list[Expression]:
    """Values between commas; the opening bracket is behind us."""
    items: list[Expression] = []
    if cursor.take(closing):
        return items
    while True:
        items.append(parse_expression(cursor))
        if cursor.take(closing):
            return items
        if not cursor.take(","):
            cursor.expected(f"',' or '{closing}' after a value")


def _members(cursor: Cursor) -> list[Member]:
    members: list[Member] = []
    if cursor.take("}"):
        return members
    while True:
        members.append(_member(cursor))
        if cursor.take("}"):
            return members
        if not cursor.take(","):
            cursor.expected("',' or '}' after a member of {...}")


def _member(cursor: Cursor) -> Member:
    name = cursor.match(_NAME)
    if name is None:
        return Member("", parse_expression(cursor))
    count: Expression | None = None
    if cursor.looking_at("("):
        arguments_at = cursor.at
        cursor.take("(")
        arguments = _sequence(cursor, ")")
        if not cursor.looking_at("=") or len(arguments) != 1:
            cursor.at = arguments_at
            return _bare(cursor, name.start())
        count = arguments[0]
    if not cursor.take("="):
        return _bare(cursor, name.start())
    return Member(name.group(), parse_expression(cursor), count)


def _bare(cursor: Cursor, at: int) -> Member:
    cursor.at = at
    return Member("", parse_expression(cursor))


def parse_call(cursor: Cursor, name: str, until: int | None) -> SystemCall:
    """The rest of a system call; its name and the opening parenthesis are behind us."""
    arguments = _sequence(cursor, ")")
    end = cursor.at
    if not cursor.looking_at("=") and cursor.place(end)[0] != cursor.place(cursor.at)[0]:
        cursor.fail(f"expected '=' and the result of {name}() on this line", end)
    cursor.need("=", f"and the result of {name}()")
    cursor.in_result = True
    result = parse_expression(cursor)
    cursor.in_result = False
    errno = cursor.match(_ERRNO)
    notes: list[str] = []
    while cursor.looking_at("("):
        notes.append(cursor.need_match(_NOTE, "a note in parentheses, closed on the same line").group(1))
    return SystemCall(name, arguments, result, errno.group() if errno else None, notes, until)
