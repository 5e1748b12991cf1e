"""The options of ``ustack lab`` that make pages: ``--html``, ``--svg``, ``--all`` and ``--web``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

from ustack.cli.complaint import Complaint, about_file
from ustack.cli.values import whole
from ustack.lab.language import chosen
from ustack.lab.page.serve import Pages, Server
from ustack.lab.page.shell import Links
from ustack.lab.page.write import page, svg, write_site
from ustack.lab.question import load, questions
from ustack.lab.report import Report
from ustack.lab.world import answer

PORT = 8765


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument("--html", metavar="FILE", help="write a page that opens offline; with --all: a folder of them")
    parser.add_argument("--svg", metavar="FILE", help="write the ladder as a picture")
    parser.add_argument("--all", action="store_true", help="with --html DIR: every question, and an index")
    parser.add_argument("--web", action="store_true", help="serve the questions on 127.0.0.1, settings as a form")
    parser.add_argument(
        "--port", type=whole(0, 65535, "port"), default=PORT, metavar="N", help=f"of --web; 0: any ({PORT})"
    )


def run_without_report(options: argparse.Namespace, say: Callable[[str], object]) -> int | None:
    """What needs no single answer: the whole site, and the server. None: neither was asked for."""
    if options.web:
        return _serve(options, say)
    if not options.all:
        return None
    if not options.html or options.question or options.changes:
        raise Complaint("--all writes every question as it is asked: say --all --html FOLDER and nothing else.", 2)
    asked = questions()
    reports: list[Report] = []

    def each() -> Iterator[Report]:
        for one in asked.values():
            reports.append(answer(one))
            say(f"{one.id}  {reports[-1].question}")
            yield reports[-1]

    try:
        largest = write_site(Path(options.html), each(), asked)
    except OSError as error:
        raise about_file(options.html, error) from None
    say(f"{len(reports) + 1} pages in {options.html}, the largest of {largest / 1e6:.1f} MB: open index.html")
    return 1 if any(report.wrong() for report in reports) else 0


def write_files(options: argparse.Namespace, report: Report) -> bool:
    """Writes the page and the picture that were asked for; whether one was."""
    for path, make in ((options.html, page), (options.svg, svg)):
        if path:
            try:
                Path(path).write_text(make(report), encoding="utf-8")
            except OSError as error:
                raise about_file(path, error) from None
    return bool(options.html or options.svg)


def _serve(options: argparse.Namespace, say: Callable[[str], object]) -> int:
    """Serves until Ctrl-C."""
    known = set(questions())
    file = options.question if options.question and options.question.endswith(".py") else ""
    first = load(options.question).id if options.question else ""
    try:
        server = Server(options.port, Pages(frozenset({*known, first} - {""}), file))
    except OSError as error:
        raise Complaint(
            f"port {options.port} of 127.0.0.1 cannot be had: {error.strerror}. Choose another: --port N."
        ) from None
    where = Links("web", frozenset({first})).question(first).lstrip("/") if first else ""
    if not first and chosen() != "en":
        where = f"?lang={chosen()}"
    say(f"Serving on {server.url}{where} for this machine only. Ctrl-C ends it.")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        say("")
    finally:
        server.server_close()
    return 0
