"""The parts of a run's page: question, figures, answer, the stage with the ladder, and where to go from there."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from ustack.lab.ladder import clock
from ustack.lab.language import translate
from ustack.lab.page.chart import charts
from ustack.lab.page.markup import Content, add, embedded, make
from ustack.lab.page.moments import data_of
from ustack.lab.page.picture import Picture, fate_of
from ustack.lab.page.plan import NARROW, WIDE
from ustack.lab.page.shell import Links
from ustack.lab.page.story import Hidden, Row, Story, gap_text
from ustack.lab.page.wording import KINDS, arrow_text, kind_of, what
from ustack.lab.question import GROUPS, questions
from ustack.lab.report import Flight, Note, Report


def run(report: Report, links: Links, number: int = 0, *, side_by_side: bool = False) -> Element:
    """A report as an article. ``number`` tells several on one page apart; ``side_by_side``: only the narrow ladder."""
    story = Story(report)
    pictures = [Picture(story, layout) for layout in ([NARROW] if side_by_side else [WIDE, NARROW])]
    key = f"r{number}"
    level = "h2" if side_by_side else "h1"
    article = make("article", class_="run" + (" half" if side_by_side else ""), id=key, aria_labelledby=f"{key}-title")
    add(article, _intro(report, level, key) if not side_by_side else _short_intro(report, key))
    under = "h3" if side_by_side else "h2"
    add(article, make("div", _answer(report, under, story), _figures(report, under), class_="findings"))
    add(
        article,
        charts(report, under),
        _stage(story, pictures, key, under, title_of_run(report) if side_by_side else ""),
        _listings(report, under),
    )
    if not side_by_side:
        add(article, onward(report, links))
    add(article, make("script", embedded(data_of(story, pictures)), type="application/json", class_="data"))
    return article


def _intro(report: Report, level: str, key: str) -> Element:
    group = translate(GROUPS.get(report.id[:1], ""))
    return make(
        "div",
        make("p", make("b", report.id), f" {group}" if group else "", class_="eyebrow"),
        make(level, report.question, id=f"{key}-title"),
        make("p", report.setup, class_="setup"),
        changed(report),
        class_="intro",
    )


def _short_intro(report: Report, key: str) -> Element:
    return make("div", make("h2", title_of_run(report), id=f"{key}-title"), changed(report), class_="intro")


def title_of_run(report: Report) -> str:
    """Which of two runs of a question this is."""
    return translate("With your settings") if report.changed else translate("As the question is asked")


def changed(report: Report) -> Element | None:
    """The settings that this run had."""
    if not report.changed:
        return None
    chips = [make("code", f"{name}={value}", class_="chip") for name, value in report.changed.items()]
    return make("p", translate("Changed: "), chips, class_="changed")


def _answer(report: Report, level: str, story: Story) -> Element | None:
    if not report.sentences:
        return None
    items = []
    for sentence in report.sentences:
        when = make("span", clock(sentence.at), class_="when")
        button = make("button", sentence.text, " ", when, type="button", class_="sentence",
                      data_moment=story.moment_of(sentence.at))  # fmt: skip
        items.append(make("li", button))
    return make("section", make(level, translate("The answer")), make("ol", items), class_="answer")


def _figures(report: Report, level: str) -> Element | None:
    if not report.figures:
        return None
    rows = []
    for figure in report.figures:
        mark = make("span", "✓" if figure.holds else "✗", aria_hidden="true")
        said = translate("as it must be") if figure.holds else translate("not as it must be")
        must = "" if figure.holds else translate(", must be {value}").format(value=figure.text(figure.expected))
        name = make("th", figure.label, make("small", figure.rule) if figure.rule else None, scope="row")
        sign = make("td", mark, make("span", said, class_="unseen"), class_="sign")
        rows.append(make("tr", sign, name, make("td", figure.text(figure.seen) + must, class_="value"),
                         class_="holds" if figure.holds else "fails"))  # fmt: skip
    head = make(
        "tr", make("td"), make("th", translate("what"), scope="col"), make("th", translate("seen"), scope="col")
    )
    table = make("table", make("thead", head, class_="unseen"), make("tbody", rows))
    return make("section", make(level, translate("Figures")), table, class_="figures")


# The stage


def _stage(story: Story, pictures: list[Picture], key: str, level: str, whose: str) -> Element:
    """``whose``: which of two runs on a page."""
    suffix = f": {whose}" if whose else ""
    columns = make(
        "div",
        make("div", [picture.draw() for picture in pictures], class_="ladders"),
        make(
            "div",
            make("div", class_="blocks"),
            make("div", make("p", translate("Choose a segment to see why it left, and its header byte by byte."),
                             class_="hint"), class_="segment"),
            class_="beside",
            tabindex="0",
            role="region",
            aria_label=translate("Control blocks and the chosen segment") + suffix,
        ),
        class_="columns",
    )  # fmt: skip
    return make(
        "section",
        make(level, translate("What happens")),
        _legend(story),
        _left_out(story),
        _player(story, key),
        columns,
        _table(story, suffix),
        class_="stage",
        aria_label=translate("What happens") + suffix,
    )


def _player(story: Story, key: str) -> Element:
    last = len(story.moments) - 1
    return make(
        "div",
        make("button", "←", type="button", class_="back", aria_label=translate("One instant back")),
        make("button", "▶", type="button", class_="play", aria_label=translate("Play")),
        make("button", "→", type="button", class_="on", aria_label=translate("One instant on")),
        make("label", translate("Time"), for_=f"{key}-time", class_="unseen"),
        make("input", type="range", id=f"{key}-time", min=0, max=last, value=0, step=1),
        make("output", for_=f"{key}-time", class_="clock"),
        make("div", class_="happens", aria_live="polite"),
        class_="player",
        hidden=True,
    )


def _legend(story: Story) -> Element:
    """The sorts of arrows that occur, each as it is drawn."""
    kinds = {kind_of(flight, flight.order in story.again): flight for flight in story.flights}
    items = []
    for kind, words in KINDS.items():
        if kind in kinds:
            line = make("g", make("line", class_="shaft", x1=1, y1=6, x2=27, y2=6),
                        make("path", class_="head", d="M33 6l-8 -4v8z"), class_=f"flight {kind}")  # fmt: skip
            sample = make(
                "svg", line, class_="ladder sample", width=34, height=12, viewBox="0 0 34 12", aria_hidden="true"
            )
            items.append(make("li", sample, translate(words)))
    if any(flight.is_lost or flight.drop for flight in story.flights):
        cross = make("path", class_="cross", d="M12 1l10 10m0 -10l-10 10")
        sample = make(
            "svg", cross, class_="ladder sample", width=34, height=12, viewBox="0 0 34 12", aria_hidden="true"
        )
        items.append(make("li", sample, translate("ends here: lost, or dropped by the rule beside it")))
    return make("ul", items, class_="legend", aria_label=translate("Legend"))


def _left_out(story: Story) -> Element | None:
    """What the page does not show, said openly."""
    sentences = []
    if story.left_out:
        words = translate("Bars and control blocks show the first {count} connections; {more} more have arrows only.")
        sentences.append(words.format(count=len(story.connections), more=f"{story.left_out:,}"))
    if any(isinstance(hidden, Hidden) for hidden in story.hidden):
        sentences.append(translate("Long stretches are folded, so that the page stays small; ustack lab {id} --trace "
                                   "shows all.").format(id=story.report.id))  # fmt: skip
    return make("p", " ".join(sentences), class_="left-out") if sentences else None


def _table(story: Story, suffix: str) -> Element:
    """The ladder for those who cannot see it, or want to copy it."""
    words = translate("The ladder as a table")
    names = (translate("time"), translate("where"), translate("what"), translate("result or reason"))
    head = make("tr", [make("th", name, scope="col") for name in names])
    rows = [make("tr", [make("td", cell) for cell in _cells(story, row)]) for row in story.rows]
    table = make("table", make("caption", words, class_="unseen"), make("thead", head),
                 make("tbody", rows))  # fmt: skip
    box = make("div", table, class_="scroll", tabindex="0", role="region", aria_label=words + suffix)
    return make("details", make("summary", words), box, class_="table")


def _cells(story: Story, row: Row) -> tuple[str, str, str, str]:
    if isinstance(row, Flight):
        way = f"{row.sender} → {row.receiver}"
        reason = "; ".join(part for part in (fate_of(row), translate(row.why), translate(row.drop_why)) if part)
        return clock(row.at), way, arrow_text(row, row.order in story.again, story.has_many), reason
    if isinstance(row, Note):
        return clock(row.at), row.side, what(row.event), translate(row.event.why)
    return clock(row.at), "", gap_text(row), ""


def _listings(report: Report, level: str) -> list[Element]:
    blocks = [(f"{title}, {clock(at)}", lines) for at, title, lines in report.listings]
    blocks += [(f"{title} ({clock(at)})", lines) for at, title, lines in report.headers]
    return [
        make("section", make(level, title),
             make("pre", "\n".join(lines), class_="scroll", tabindex="0", role="region", aria_label=title),
             class_="listing")
        for title, lines in blocks
    ]  # fmt: skip


def onward(report: Report, links: Links) -> Element | None:
    """What to try, and what to ask next."""
    tries = [_try(report.id, change, links) for change in report.tries]
    following = []
    for name in report.next:
        where = links.question(name)
        following.append(make("li", make("a", name, title_of(name), href=where) if where
                              else make("code", f"ustack lab {name}")))  # fmt: skip
    sections: list[Content] = []
    if tries:
        sections.append(make("section", make("h2", translate("Try")), make("ul", tries, class_="tries")))
    if following:
        sections.append(make("section", make("h2", translate("Ask next")), make("ul", following, class_="next")))
    return make("div", *sections, class_="onward") if sections else None


def _try(name: str, change: str, links: Links) -> Element:
    setting, _, value = change.partition("=")
    where = links.question(name, {setting: value})
    command = f"ustack lab {name} --set {change}"
    return make("li", make("a", make("code", change), href=where) if where else make("code", command))


def title_of(name: str) -> Element:
    """The title of a question that comes with ustack."""
    found = questions().get(name)
    return make("span", translate(found.title) if found else "")
