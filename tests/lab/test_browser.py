"""The lab's pages in a real Chromium: clicks, keys, slider, form, phone width, and axe's rules of accessibility."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.reports import report_of
from ustack.lab import language
from ustack.lab.page.serve import Pages, Server
from ustack.lab.page.shell import Links
from ustack.lab.page.write import index, page
from ustack.lab.question import questions

playwright = pytest.importorskip("playwright.sync_api", reason="needs the Python package playwright (ustack[test])")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python (ustack[test])")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs a chromium (Debian: apt-get install chromium)"),
]
SOME = sorted({"B5", *list(questions())[::12]})
LOOKS = [
    *((name, *look) for name in [*SOME, "index"] for look in ((1280, "light"), (360, "dark"))),
    ("B5", 1280, "dark"),
    ("B5", 360, "light"),
    ("B5.zh", 360, "light"),
]
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some pages, and the index."""
    made = tmp_path_factory.mktemp("pages")
    for name in SOME:
        made.joinpath(f"{name}.html").write_text(page(report_of(questions()[name])))
    made.joinpath("index.html").write_text(index(questions().values(), Links("site", frozenset(questions()))))
    language.choose("zh")
    made.joinpath("B5.zh.html").write_text(page(report_of(questions()["B5"])))
    language.choose("en")
    return made


@pytest.fixture
def opened(chromium: Any) -> Iterator[Open]:
    """Opens an address; in the end nothing was said on the console, and nothing was fetched but pages asked for."""
    contexts: list[Any] = []
    said: list[str] = []
    fetched: list[str] = []

    def show(address: str, width: int = 1280, height: int = 900, **more: Any) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": height}, **more)
        contexts.append(context)
        shown = context.new_page()
        shown.on("console", lambda message: said.append(message.text))
        shown.on("pageerror", lambda error: said.append(str(error)))
        shown.on("request", lambda request: fetched.append(request.resource_type))
        shown.goto(address)
        return shown

    yield show
    for context in contexts:
        context.close()
    assert said == []
    assert set(fetched) == {"document"}


def scrolls_sideways(shown: Any) -> bool:
    return bool(shown.evaluate("document.documentElement.scrollWidth > innerWidth"))


def violations(shown: Any) -> list[str]:
    found = axe.Axe().run(shown).response["violations"]
    return [f"{one['id']}: {node['html'][:160]}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize(("name", "width", "scheme"), LOOKS)
def test_page_is_accessible_and_fits(opened: Open, folder: Path, name: str, width: int, scheme: str) -> None:
    shown = opened((folder / f"{name}.html").as_uri(), width, color_scheme=scheme)
    assert not scrolls_sideways(shown)
    if name != "index":
        shown.locator(".ladders svg:visible [data-flight]").first.press("Enter")
        shown.locator("summary").first.click()
    assert violations(shown) == []
    assert not scrolls_sideways(shown)


TEXTS = """(kind) => [...document.querySelectorAll(`.ladders svg.${kind} .note`)].map((note) => {
  const boxes = [...note.querySelectorAll("text")].map((text) => text.getBoundingClientRect());
  return [Math.min(...boxes.map((b) => b.left)), Math.min(...boxes.map((b) => b.top)),
          Math.max(...boxes.map((b) => b.right)), Math.max(...boxes.map((b) => b.bottom))];
})"""


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize(("kind", "width"), [("wide", 1280), ("narrow", 360)])
def test_no_drawn_note_covers_another_or_leaves_the_picture(
    opened: Open, folder: Path, name: str, kind: str, width: int
) -> None:
    shown = opened((folder / f"{name}.html").as_uri(), width)
    boxes = shown.evaluate(TEXTS, kind)
    picture = shown.locator(f".ladders svg.{kind}").bounding_box()
    for number, (left, top, right, bottom) in enumerate(boxes):
        assert left >= picture["x"] - 1
        assert right <= picture["x"] + picture["width"] + 1
        for other in boxes[number + 1 :]:
            apart = right <= other[0] or other[2] <= left or bottom <= other[1] + 1.5 or other[3] <= top + 1.5
            assert apart, (boxes[number], other)


def test_slider_moves_by_keyboard_and_shows_both_control_blocks(opened: Open, folder: Path) -> None:
    shown = opened((folder / "B5.html").as_uri())
    slider = shown.get_by_label("Time", exact=True)
    slider.focus()
    for _ in range(2):
        slider.press("ArrowRight")
    assert shown.locator(".clock").inner_text() == "0.020 s"
    assert "ESTABLISHED" in shown.locator(".block").nth(0).inner_text()
    assert "SYN_RECEIVED" in shown.locator(".block").nth(1).inner_text()
    assert "SYN queue *:80: 1 of " in shown.locator(".queues").inner_text()
    assert slider.get_attribute("aria-valuetext").startswith("0.020 s: ")
    slider.press("Home")
    assert "retransmission timer" in shown.locator(".timers").inner_text()
    assert "1 s left" in shown.locator(".timers").inner_text()


def test_a_sentence_moves_the_slider_to_its_instant(opened: Open, folder: Path) -> None:
    shown = opened((folder / "B5.html").as_uri(), reduced_motion="reduce")
    shown.locator(".sentence").nth(2).click()
    assert shown.locator(".clock").inner_text() == "1.010 s"
    assert shown.locator(".sentence[aria-current]").count() == 1
    assert shown.locator(".ladders svg.wide .now.on").is_visible()
    assert shown.locator(".ladders svg.wide .flight.on").count() == 1


def test_a_segment_shows_why_it_left_and_its_bytes(opened: Open, folder: Path) -> None:
    shown = opened((folder / "B5.html").as_uri())
    flights = shown.locator(".ladders svg.wide [data-flight]")
    flights.nth(0).focus()
    flights.nth(0).press("ArrowDown")
    flights.nth(1).press("Enter")
    panel = shown.locator(".segment")
    assert panel.locator("h3").inner_text() == "SYN ACK seq 0 ack 1"
    assert "RFC 9293" in panel.inner_text()
    assert panel.locator(".hex .b").count() == 60
    row = panel.locator(".fields tr", has_text="option: MSS")
    row.hover()
    assert panel.locator(".hex .b.lit").all_inner_texts() == ["02", "04", "05", "b4"]
    assert "1460" in row.inner_text()


def test_phone_shows_a_segment_in_a_sheet_that_closes(opened: Open, folder: Path) -> None:
    shown = opened((folder / "B5.html").as_uri(), 360, 780, has_touch=True)
    shown.locator(".ladders svg.narrow [data-flight] .label").nth(2).click()
    assert shown.locator(".segment").is_visible()
    shown.locator(".segment .close").click()
    assert not shown.locator(".segment").is_visible()


def test_play_goes_on_and_stops(opened: Open, folder: Path) -> None:
    shown = opened((folder / "B5.html").as_uri())
    shown.get_by_role("button", name="One instant on").click()
    shown.get_by_role("button", name="Play").click()
    playwright.expect(shown.locator(".clock")).not_to_have_text("0.010 s")
    shown.get_by_role("button", name="Pause").click()
    assert shown.get_by_role("button", name="Play").is_visible()


def test_theme_can_be_chosen(opened: Open, folder: Path) -> None:
    shown = opened((folder / "B5.html").as_uri(), color_scheme="light")
    switch = shown.locator(".theme")

    def background() -> str:
        return str(shown.evaluate("getComputedStyle(document.body).backgroundColor"))

    light = background()
    switch.click()
    assert background() == light
    switch.click()
    assert background() != light
    assert shown.evaluate("localStorage.getItem('ustack-theme')") == "dark"


def test_paper_is_white_whatever_the_screen_is(opened: Open, folder: Path) -> None:
    shown = opened((folder / "B5.html").as_uri(), color_scheme="dark")
    shown.emulate_media(media="print")
    assert shown.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert shown.evaluate("getComputedStyle(document.querySelector('.ladder .label')).stroke") == "rgb(255, 255, 255)"
    assert not shown.locator(".player").is_visible()


def test_page_without_script_has_everything_to_read(opened: Open, folder: Path) -> None:
    shown = opened((folder / "B5.html").as_uri(), java_script_enabled=False)
    for words in ("The answer", "Figures", "The ladder as a table"):
        assert shown.get_by_text(words, exact=True).first.is_visible()
    assert shown.locator(".ladders svg.wide").is_visible()
    assert not shown.locator(".player").is_visible()


def test_site_goes_from_the_index_to_a_question(opened: Open, folder: Path) -> None:
    shown = opened((folder / "index.html").as_uri())
    shown.get_by_role("link", name=re.compile("third ACK of the handshake")).click()
    assert shown.locator("h1").inner_text().startswith("What happens when the third")


@pytest.fixture
def served() -> Iterator[Server]:
    server = Server(0, Pages(frozenset(questions())))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_form_shows_both_outcomes_and_the_link_holds_the_settings(opened: Open, served: Server) -> None:
    shown = opened(served.url + "B5")
    shown.get_by_label("silence").fill("0.5")
    shown.get_by_role("button", name="Run").click()
    assert shown.url == served.url + "B5?silence=0.5"
    assert shown.locator("article.half").count() == 2
    assert shown.get_by_label("silence").input_value() == "0.5"
    clocks = shown.locator(".clock")
    shown.locator("article.half").nth(1).locator(".sentence").last.click()
    assert clocks.nth(0).inner_text() == "0.000 s"
    assert clocks.nth(1).inner_text() != "0.000 s"
    assert violations(shown) == []
    shown.set_viewport_size({"width": 360, "height": 780})
    assert not scrolls_sideways(shown)


def test_form_says_what_is_wrong(opened: Open, served: Server) -> None:
    shown = opened(served.url + "B5")
    shown.get_by_label("Any other setting").fill("no_such=1")
    shown.get_by_role("button", name="Run").click()
    assert "no_such is nothing that B5 knows" in shown.get_by_role("alert").inner_text()
    assert violations(shown) == []


def test_what_to_try_is_a_link(opened: Open, served: Server) -> None:
    shown = opened(served.url + "B5")
    shown.get_by_role("link", name="server.tcp_synack_retries=0").click()
    assert "RST" in shown.locator("article.half").nth(1).inner_text()
