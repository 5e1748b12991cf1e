"""Writes pages: one question's file, a picture alone, or the whole site."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from xml.etree.ElementTree import Element

from ustack.lab.language import chosen, translate
from ustack.lab.page.markup import as_svg, make
from ustack.lab.page.parts import run
from ustack.lab.page.picture import Picture
from ustack.lab.page.plan import WIDE
from ustack.lab.page.shell import LANG_TAGS, Links, asset, document
from ustack.lab.page.story import Story
from ustack.lab.question import GROUPS, Question
from ustack.lab.report import Report

ALONE = Links("alone")


def page(report: Report, links: Links = ALONE) -> str:
    """A report as a page of its own."""
    return document(f"{report.id}: {report.question}", links, run(report, links))


def svg(report: Report) -> str:
    """The ladder as a picture alone."""
    picture = Picture(Story(report), WIDE).draw()
    picture.set("role", "img")
    picture.set("lang", LANG_TAGS[chosen()])
    picture.insert(0, make("style", asset("ladder.css")))
    return as_svg(picture)


def index(asked: Iterable[Question], links: Links) -> str:
    """The list of questions, in groups."""
    groups: dict[str, list[Question]] = {}
    for one in asked:
        groups.setdefault(one.id[:1], []).append(one)
    title = translate("Ask TCP a question, and watch the answer")
    about = translate(
        "Each page runs two hosts in virtual time and shows what they say to each other, in which states they are, "
        "which timers run, and by which rule each segment leaves."
    )
    intro = make(
        "div",
        make("h1", title),
        make("p", about, class_="setup"),
        class_="intro",
    )
    return document(title, links, intro, make("div", [_group(letter, ones, links) for letter, ones in groups.items()],
                                              class_="groups"))  # fmt: skip


def _group(letter: str, asked: list[Question], links: Links) -> Element:
    items = [
        make("li", make("a", make("b", one.id), " ", make("span", translate(one.title)), href=links.question(one.id)))
        for one in asked
    ]
    heading = make("h2", translate(GROUPS.get(letter, "Your own")), id=f"group-{letter}")
    return make("section", heading, make("ul", items), class_="group", aria_labelledby=f"group-{letter}")


def write_site(folder: Path, reports: Iterable[Report], asked: dict[str, Question]) -> int:
    """One page for each report and an index. Returns how many bytes the largest page has. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    links = Links("site", frozenset(asked))
    largest = 0
    for report in reports:
        text = page(report, links)
        largest = max(largest, len(text.encode()))
        (folder / f"{report.id}.html").write_text(text, encoding="utf-8")
    (folder / "index.html").write_text(index(asked.values(), links), encoding="utf-8")
    return largest
