"""From the text of a script to its tree: files, events, times.

A hand-written recursive descent without a separate lexer, because what a word means depends on where it stands
(``.`` is a flag, a time, a part of ``...``). Errors say the line, the column and what was expected there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from ustack.packetdrill.cursor import Cursor, substitute
from ustack.packetdrill.expressions import parse_call
from ustack.packetdrill.packets import parse_packet
from ustack.packetdrill.tree import Action, Clock, Code, Command, Direction, Event, Script, Setting, Time
from ustack.units import SECOND

_SETTING: Final = re.compile(r"--([A-Za-z]\w*)(?:[ \t]*=[ \t]*(\"[^\"\n]*\"|[^\s]*))?|-D\s*(\w+=[^\s]*)")
_TIME: Final = re.compile(r"(\+?)[ \t]*(\d+(?:\.(?!\.)\d*)?|\.\d+)")
_UNIT: Final = re.compile(r"(?:ns|us|ms|s|sec|seconds?|e-?\d+)\b")
_CALL: Final = re.compile(r"([A-Za-z_]\w*)\s*\(")
_BACKQUOTED: Final = re.compile(r"`([^`]*)`")
_CODE: Final = re.compile(r"%\{(.*?)\}%", re.DOTALL)
_DIRECTIVE: Final = re.compile(r"^//[ \t]*([a-z][a-z ]*):[ \t]+(.*?)[ \t]*$", re.MULTILINE)
_ACTION_HELP: Final = "an action: '<' or '>' and a packet, a system call name(...) = result, `command` or %{ python }%"
_TIME_HELP: Final = "a time: 0.1 (absolute), +0.1 (after the event before), or for a '>' packet a~b, +a~+b or *"


def parse_file(path: str | Path, symbols: dict[str, str] | None = None) -> Script:
    """Read one file. Raises ScriptError, Unsupported, OSError."""
    text = Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    return parse_script(text, str(path), symbols)


def parse_script(text: str, path: str = "", symbols: dict[str, str] | None = None) -> Script:
    """Read a whole script; ``symbols`` are the definitions of the command line, which win over the script's own.

    Raises ScriptError with the place, and Unsupported for what can be recognised but not be run."""
    script = Script(path=path, text=text)
    cursor = Cursor(text, path)
    try:
        return _parse(cursor, script, symbols or {})
    except RecursionError:
        cursor.fail("too many brackets inside each other", 0)
    except ValueError:
        cursor.fail("a number of absurd length", cursor.at)


def _parse(cursor: Cursor, script: Script, symbols: dict[str, str]) -> Script:
    text, path = script.text, script.path
    _settings(cursor, script)
    head = text[: cursor.at]
    script.directives = dict(_DIRECTIVE.findall(head))
    defined = _definitions(cursor, script)
    defined.update(symbols)
    if defined:
        start = cursor.at
        body, shifts = substitute(text[start:], defined)
        cursor = Cursor(head + body, path, [(at + start, grown) for at, grown in shifts])
        cursor.origin = text
        cursor.at = start
    _body(cursor, script)
    return script


def parse_event(text: str) -> Event:
    """One event on its own, for dialogues written in Python."""
    cursor = Cursor(text, "event")
    event = _event(cursor)
    if not cursor.done():
        cursor.expected("the end of the event")
    return event


def parse_one_packet(text: str, direction: Direction) -> Action:
    """A packet without time and arrow."""
    cursor = Cursor(text + " ", "packet")
    packet = parse_packet(cursor, direction)
    if not cursor.done():
        cursor.expected("the end of the packet")
    return packet


def _settings(cursor: Cursor, script: Script) -> None:
    while cursor.looking_at("--") or cursor.looking_at("-D"):
        line, _ = cursor.place(cursor.at)
        found = cursor.need_match(_SETTING, "an option: --name=value")
        if found[3]:
            script.settings.append(Setting("define", found[3], line))
            continue
        value = found[2]
        if value is not None and value.startswith('"'):
            value = value[1:-1]
        script.settings.append(Setting(found[1], value, line))


def _definitions(cursor: Cursor, script: Script) -> dict[str, str]:
    symbols: dict[str, str] = {}
    for setting in script.settings:
        if setting.name == "define":
            name, equals, value = (setting.value or "").partition("=")
            if not equals or not name:
                cursor.fail("expected --define=NAME=value", 0)
            symbols[name] = value
    return symbols


def _body(cursor: Cursor, script: Script) -> None:
    if cursor.looking_at("`"):
        script.init_line, _ = cursor.place(cursor.at)
        script.init = _command(cursor)
    while not cursor.done():
        if cursor.looking_at("`"):
            script.cleanup_line, _ = cursor.place(cursor.at)
            script.cleanup = _command(cursor)
            if not cursor.done():
                cursor.expected("the end of the script after the cleanup command (or a time before the command above)")
            break
        script.events.append(_event(cursor))
    if not script.events:
        cursor.expected("at least one event: " + _TIME_HELP)


def _command(cursor: Cursor) -> Command:
    return Command(cursor.need_match(_BACKQUOTED, "a command closed by another backquote").group(1))


def nanoseconds(text: str) -> int:
    """The decimal ``text`` seconds, exactly as far as nanoseconds go."""
    whole, _, fraction = text.partition(".")
    return int(whole or "0") * SECOND + int((fraction + "000000000")[:9])


def _event(cursor: Cursor) -> Event:
    start = cursor.skip()
    line, column = cursor.place(start)
    time = _time(cursor)
    until: int | None = None
    if time.clock is not Clock.ANY and time.end is None and cursor.text.startswith("...", cursor.at):
        cursor.at += 3
        until = nanoseconds(cursor.need_match(_TIME, "the time at which the call returns, after '...'").group(2))
    outbound = cursor.looking_at(">")
    if not outbound and (time.clock is Clock.ANY or time.end is not None):
        cursor.fail("a range of times, or '*', is for packets that are expected ('>') only", start)
    action = _action(cursor, until)
    if until is not None and not hasattr(action, "until"):
        cursor.fail("only a system call can block: 'TIME...END' stands before one", start)
    return Event(time, action, line, column, " ".join(cursor.text[start : cursor.at].split()))


def _time_help(cursor: Cursor) -> str:
    """What to write instead, by what stands where an event should begin."""
    if cursor.looking_at("--"):
        return _TIME_HELP + " (options stand at the head of the file, before everything else)"
    if cursor.looking_at("#"):
        return _TIME_HELP + " (comments are '// ...' and '/* ... */')"
    return _TIME_HELP


def _time(cursor: Cursor) -> Time:
    if cursor.take("*"):
        return Time(Clock.ANY)
    found = cursor.match(_TIME)
    if found is None:
        cursor.expected(_time_help(cursor))
    if (unit := _UNIT.match(cursor.text, cursor.at)) is not None:
        cursor.fail(f"times are seconds without a unit (0.1, not 100ms): found '{unit.group()}'")
    clock = Clock.RELATIVE if found[1] else Clock.ABSOLUTE
    time = Time(clock, nanoseconds(found[2]))
    if cursor.take("~"):
        end = cursor.need_match(_TIME, "the end of the range of times, after '~'")
        if bool(end[1]) != bool(found[1]):
            cursor.fail("both ends of a range are absolute (a~b), or both are relative (+a~+b)", found.start())
        time.end = nanoseconds(end[2])
        if time.end < time.start:
            cursor.fail("this range of times ends before it begins", found.start())
    return time


def _action(cursor: Cursor, until: int | None) -> Action:
    if cursor.take("<"):
        return parse_packet(cursor, Direction.INBOUND)
    if cursor.take(">"):
        return parse_packet(cursor, Direction.OUTBOUND)
    if cursor.looking_at("`"):
        return _command(cursor)
    if cursor.looking_at("%{"):
        return Code(cursor.need_match(_CODE, "python code closed by '}%'").group(1))
    call = cursor.need_match(_CALL, _ACTION_HELP)
    return parse_call(cursor, call.group(1), until)
