"""A question's settings as a form, and its page on the local server: one outcome, or two side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from xml.etree.ElementTree import Element

from ustack.lab.knobs import IMPAIRMENTS, SETTINGS, Knobs
from ustack.lab.language import chosen, translate
from ustack.lab.page.markup import make
from ustack.lab.page.parts import onward, run
from ustack.lab.page.shell import Links, document
from ustack.lab.question import GROUPS, Question
from ustack.lab.world import answer

OTHER = "set"
"""The field for any other setting, as ``NAME=VALUE``."""
_LINK_FIELDS = ("delay", "loss", "rate")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A field of the form; ``usual``: its value when nobody changes it."""

    name: str
    usual: str
    help: str


def entries(question: Question) -> list[Entry]:
    """What the question itself speaks of: its options, what it suggests to try, and the link."""
    own = [Entry(name, value, translate("of this question")) for name, value in question.options.items()]
    usual = Knobs(question, {})
    names = [one.partition("=")[0] for one in question.tries]
    for side, settings in (("client", question.client), ("server", question.server)):
        names += [f"{side}.{name}" for name in settings]
    for name in dict.fromkeys(names):
        side, _, setting = name.rpartition(".")
        if name not in question.options and setting in SETTINGS:
            value = getattr(usual.settings(side or "client"), setting)
            own.append(Entry(name, _shown(value), translate("setting (sysctl)")))
    link = dict(word.split("=", 1) for word in usual.link.split(",") if word)
    wanted = dict.fromkeys([*_LINK_FIELDS, *link, *(name for name in names if name in IMPAIRMENTS)])
    return own + [Entry(name, link.get(name, ""), translate("of the link")) for name in wanted]


def _shown(value: object) -> str:
    return " ".join(str(one) for one in value) if isinstance(value, tuple) else str(value)


def settings_form(question: Question, changes: Mapping[str, str]) -> Element:
    """The form. What is sent is the link that holds the settings."""
    known = entries(question)
    fields = [_field(entry.name, changes.get(entry.name, entry.usual), entry.usual, entry.help) for entry in known]
    names = {entry.name for entry in known}
    others = ", ".join(f"{name}={value}" for name, value in changes.items() if name not in names)
    explained = translate("NAME=VALUE, several with commas; client. or server. before it sets one side")
    fields.append(_field(OTHER, others, "", explained, translate("Any other setting")))
    act = make(
        "div",
        make("button", translate("Run"), type="submit"),
        make(
            "a",
            translate("As the question is asked"),
            href=Links("web", frozenset([question.id])).question(question.id),
        ),
        class_="act",
    )
    hidden = make("input", type="hidden", name="lang", value=chosen()) if chosen() != "en" else None
    heading = make("h2", translate("Change something, and look again"))
    return make("form", heading, make("div", fields, class_="rows"), hidden, act, class_="settings",
                method="get", action=f"/{question.id}")  # fmt: skip


def _field(name: str, value: str, usual: str, words: str, title: str = "") -> Element:
    key = f"set-{name}"
    label = make("label", title or name, make("small", words), for_=key)
    entry = make("input", id=key, name=name, value=value, data_usual=usual, autocomplete="off", spellcheck="false",
                 maxlength=200)  # fmt: skip
    return make("div", label, entry)


def changes_of(question: Question, query: Mapping[str, str]) -> dict[str, str]:
    """The settings that differ from the usual ones. Raises ValueError with a sentence."""
    usual = {entry.name: entry.usual for entry in entries(question)}
    changes = {
        name: value.strip()
        for name, value in query.items()
        if name not in (OTHER, "lang") and value.strip() and value.strip() != usual.get(name)
    }
    for word in query.get(OTHER, "").split(","):
        name, equals, value = word.strip().partition("=")
        if name and not equals:
            raise ValueError(translate("{word}: write NAME=VALUE").format(word=name))
        if name:
            changes[name.strip()] = value.strip()
    return changes


def asked_page(question: Question, query: Mapping[str, str], links: Links) -> str:
    """The page of a question with its form; what goes wrong is a sentence on it."""
    report = answer(question)
    changes: dict[str, str] = {}
    complaint = ""
    try:
        changes = changes_of(question, query)
        changed = answer(question, changes) if changes else None
    except Exception as error:  # whatever a setting leads to is told, not raised
        complaint, changed = _sentence(error), None
        changes = changes or {name: value for name, value in query.items() if name != "lang"}
    title = f"{question.id}: {translate(question.title)}"
    form = settings_form(question, changes)
    if changed is None:
        warned = make("p", complaint, class_="complaint", role="alert") if complaint else None
        return document(title, links, warned, run(report, links), form)
    intro = make(
        "div",
        make("p", make("b", question.id), f" {translate(GROUPS.get(question.id[:1], ''))}", class_="eyebrow"),
        make("h1", translate(question.title)),
        make("p", translate(question.setup), class_="setup"),
        class_="intro",
    )
    both = make(
        "div", run(report, links, 0, side_by_side=True), run(changed, links, 1, side_by_side=True), class_="both"
    )
    return document(title, links, intro, form, both, onward(report, links))


def _sentence(error: Exception) -> str:
    if isinstance(error, ValueError | LookupError) and error.args and " " in str(error.args[0]):
        return f"{str(error.args[0]).rstrip('.')}."
    return translate("With these settings the question cannot be asked: {error}.").format(
        error=f"{type(error).__name__}: {error}".rstrip(".: ")
    )
