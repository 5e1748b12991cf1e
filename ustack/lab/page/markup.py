"""HTML and SVG as trees of elements. Text is escaped when the tree is written: nothing can be injected."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any
from xml.etree.ElementTree import Element, tostring

Content = Element | str | None
SVG = "http://www.w3.org/2000/svg"
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 section 2.2 does not allow in a document, however it is written."""


def make(tag: str, *content: Content | Iterable[Content], **attributes: Any) -> Element:
    """An element. ``class_`` becomes class, ``aria_label`` aria-label; what is None or False is left out."""
    made = Element(tag)
    for name, value in attributes.items():
        if value is not None and value is not False:
            made.set(name.rstrip("_").replace("_", "-"), _shown(value))
    add(made, *content)
    return made


def add(parent: Element, *content: Content | Iterable[Content]) -> None:
    """Appends elements and text."""
    for one in content:
        if one is None:
            continue
        if isinstance(one, Element):
            parent.append(one)
        elif isinstance(one, str):
            _add_text(parent, one)
        else:
            add(parent, *one)


def _add_text(parent: Element, text: str) -> None:
    text = clean(text)
    if len(parent):
        parent[-1].tail = (parent[-1].tail or "") + text
    else:
        parent.text = (parent.text or "") + text


def clean(text: str) -> str:
    """The text without characters that no document may hold."""
    return _NOT_XML.sub("\ufffd", text)


def _shown(value: Any) -> str:
    if value is True:
        return ""
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return clean(str(value))


def as_html(page: Element) -> str:
    """A whole document."""
    return "<!doctype html>\n" + tostring(page, encoding="unicode", method="html") + "\n"


def as_svg(picture: Element) -> str:
    """A whole file."""
    picture.set("xmlns", SVG)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + tostring(picture, encoding="unicode") + "\n"


def embedded(data: Any) -> str:
    """Data for a script element of type application/json: no text in it can end the element."""
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
