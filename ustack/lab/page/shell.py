"""What every page has: its head, sheets and script inside it, the heading with the switch for light and dark."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from urllib.parse import quote, urlencode
from xml.etree.ElementTree import Element

from ustack.lab.language import chosen, translate
from ustack.lab.page.markup import Content, add, as_html, make

LANG_TAGS = {"en": "en", "zh": "zh-Hans"}


@dataclasses.dataclass(frozen=True)
class Links:
    """How pages find each other. ``kind``: ``alone`` (a file that knows no other), ``site`` (a folder), ``web``."""

    kind: str
    known: frozenset[str] = frozenset()
    """The ids of the questions that have a page."""

    @property
    def index(self) -> str:
        """The list of questions; empty when there is none."""
        return {"site": "index.html", "web": self._with_language("/")}.get(self.kind, "")

    def question(self, name: str, changes: Mapping[str, str] | None = None) -> str:
        """A question's page, where settings can be in a link with these; empty when there is none."""
        if name not in self.known:
            return ""
        if self.kind == "site":
            return "" if changes else f"{quote(name)}.html"
        query = dict(changes or {})
        if chosen() != "en":
            query["lang"] = chosen()
        return f"/{quote(name)}" + (f"?{urlencode(query)}" if query else "") if self.kind == "web" else ""

    @staticmethod
    def _with_language(path: str) -> str:
        return path if chosen() == "en" else f"{path}?lang={chosen()}"


@cache
def asset(name: str) -> str:
    """A sheet or script of this package."""
    return files("ustack.lab.page").joinpath(name).read_text(encoding="utf-8")


def style() -> str:
    """The sheets of a page."""
    return asset("ladder.css") + asset("page.css")


def _hash(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


@cache
def policy() -> str:
    """The Content-Security-Policy: nothing is fetched, nothing runs but the script and the sheet of this package."""
    return (
        f"default-src 'none'; script-src {_hash(asset('page.js'))}; style-src {_hash(style())}; "
        "form-action 'self'; base-uri 'none'"
    )


def document(title: str, links: Links, *content: Content) -> str:
    """A whole page; ``content`` stands in its main part."""
    head = make(
        "head",
        make("meta", charset="utf-8"),
        make("meta", name="viewport", content="width=device-width, initial-scale=1"),
        make("meta", http_equiv="Content-Security-Policy", content=policy()),
        make("meta", name="color-scheme", content="light dark"),
        make("title", f"{title} · ustack lab"),
        make("style", style()),
    )
    body = make(
        "body",
        make("a", translate("Skip to the content"), class_="skip", href="#main"),
        _heading(links),
        make("main", *content, id="main", tabindex="-1"),
        make("footer", make("p", translate("All that is shown was seen in a run in virtual time.")), class_="foot"),
        make("script", asset("page.js")),
    )  # fmt: skip
    return as_html(make("html", head, body, lang=LANG_TAGS[chosen()]))


def _heading(links: Links) -> Element:
    brand: list[Content] = [make("b", "ustack"), " lab"]
    name = make("a", *brand, class_="brand", href=links.index) if links.index else make("span", *brand, class_="brand")
    heading = make("header", name, class_="top")
    if links.index:
        add(heading, make("nav", make("a", translate("All questions"), href=links.index), aria_label=translate("Site")))
    switch = make("button", class_="theme", type="button", hidden=True, data_auto=translate("Theme: as the system"),
                  data_light=translate("Theme: light"), data_dark=translate("Theme: dark"))  # fmt: skip
    add(heading, switch)
    return heading
