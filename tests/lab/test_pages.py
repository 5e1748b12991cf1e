"""The lab's pages without a browser: valid, self-contained, escaped, bounded in size, and no note over another."""

from __future__ import annotations

import ast
import contextlib
import http.client
import json
import re
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import combinations, pairwise
from pathlib import Path
from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.reports import report_of
from ustack.cli.command import main
from ustack.lab import Lab, Question, language, question
from ustack.lab.page import form, serve, wording
from ustack.lab.page.chart import WIDTH, charts
from ustack.lab.page.margin import spread, width_of, wrapped
from ustack.lab.page.picture import Picture
from ustack.lab.page.plan import NARROW, ROW, WIDE, Box
from ustack.lab.page.serve import Pages, Server
from ustack.lab.page.shell import Links, policy
from ustack.lab.page.story import MOST_ROWS, Story
from ustack.lab.page.write import page, svg
from ustack.lab.question import questions
from ustack.lab.world import answer
from ustack.trace import Queued, TimerEvent

MOST_BYTES = 3_000_000
EVIL = "</script><script>alert(1)</script>\"'><img src=x onerror=alert(1)>&\x00"
EACH = pytest.mark.parametrize("asked", [pytest.param(one, id=one.id) for one in questions().values()])


@question("X1", f"What of {EVIL}?", f"Two hosts. {EVIL}", options={"much": "20000"}, tries=("much=1000",), next=("B5",))
def bulk(lab: Lab) -> None:
    listener = lab.server.listen(80)
    client = lab.client.connect(lab.server, 80)
    served, _ = listener.accept()
    client.setblocking(False)
    left = int(lab.option("much"))
    while left:
        with contextlib.suppress(BlockingIOError):
            left -= client.send(bytes(min(left, 1 << 16)))
        lab.settle()
        served.read_all()
    lab.figure(f"bytes {EVIL}", EVIL, EVIL, rule=EVIL)
    lab.say(lab.flights(lab.client)[0], f"It is said: {EVIL}")
    lab.show_listing(lab.server)


@pytest.fixture(autouse=True)
def english() -> Iterator[None]:
    language.choose("en")
    yield
    language.choose("en")


class Elements(HTMLParser):
    """All elements of a page, as a browser's parser finds them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


# The picture


@EACH
def test_picture_is_valid_xml(asked: Question) -> None:
    root = fromstring(svg(report_of(asked)))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    flights = [one for one in root.iter() if one.get("data-flight")]
    assert flights
    assert all(one.find("{http://www.w3.org/2000/svg}title") is not None for one in flights)
    numbers = [value for one in root.iter() for name, value in one.attrib.items() if name in ("x", "y", "x1", "y2")]
    assert all(-50 < float(value) < 100_000 for value in numbers)


def overlap(one: Box, other: Box, width: float) -> bool:
    apart = one.x + width <= other.x or other.x + width <= one.x
    return not apart and one.y < other.y + other.height - 0.01 and other.y < one.y + one.height - 0.01


@EACH
@pytest.mark.parametrize("layout", [WIDE, NARROW], ids=lambda layout: layout.name)
def test_notes_never_overlap_and_are_never_cut_off(asked: Question, layout: object) -> None:
    assert layout in (WIDE, NARROW)
    picture = Picture(Story(report_of(asked)), layout)  # type: ignore[arg-type]
    width = picture.layout.note_width
    assert not [(one, other) for one, other in combinations(picture.boxes, 2) if overlap(one, other, width)]
    for box in picture.boxes:
        assert box.x >= 0
        assert box.x + width <= picture.layout.width
        assert 0 < box.y < box.y + box.height < picture.height
        assert max(width_of(line) for line in box.lines) <= width / 6.4


@EACH
def test_arrows_of_one_side_keep_their_distance_and_time_runs_downwards(asked: Question) -> None:
    picture = Picture(Story(report_of(asked)), WIDE)
    for side in picture.story.sides:
        ends = sorted(point.y for point in picture.points if side in point.columns)
        assert all(after - before >= ROW - 0.01 for before, after in pairwise(ends))
    heights = [(point.at, point.y) for point in sorted(picture.points, key=lambda point: point.y)]
    assert [at for at, _ in heights] == sorted(at for at, _ in heights)


@EACH
def test_labels_stay_between_the_lifelines(asked: Question) -> None:
    picture = Picture(Story(report_of(asked)), NARROW)
    for label in picture.draw().iter("text"):
        if label.get("class") == "label":
            size = width_of(label.text or "") * NARROW.letter
            x = float(label.get("x", 0))
            assert (x + size if label.get("text-anchor") == "start" else NARROW.width - x + size) <= NARROW.width


@given(st.lists(st.tuples(st.floats(0, 500), st.floats(1, 60)), max_size=14), st.floats(0, 80))
def test_margin_is_the_best_that_does_not_overlap(notes: list[tuple[float, float]], top: float) -> None:
    wishes = sorted(wish for wish, _ in notes)
    heights = [height for _, height in notes]
    tops = spread(wishes, heights, top)
    assert all(place >= top - 1e-6 for place in tops[:1])
    for (above, height), below in zip(zip(tops, heights, strict=True), tops[1:], strict=False):
        assert above + height <= below + 1e-6

    def cost(places: list[float]) -> float:
        return sum((place - wish) ** 2 for place, wish in zip(places, wishes, strict=True))

    for first, last in combinations(range(len(tops) + 1), 2):
        for by in (-0.5, 0.5):
            moved = [place + (by if first <= index < last else 0) for index, place in enumerate(tops)]
            fits = all(a + h <= b for (a, h), b in zip(zip(moved, heights, strict=True), moved[1:], strict=False))
            if fits and moved[0] >= top:
                assert cost(moved) >= cost(tops) - 1e-6


@given(st.text(max_size=80), st.integers(4, 30))
def test_wrapped_text_fits_and_loses_nothing(text: str, width: int) -> None:
    lines = wrapped(text, width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(width_of(line) <= width + 2 or " " not in line for line in lines)


# The page


@EACH
def test_page_fetches_nothing_and_is_small(asked: Question) -> None:
    text = page(report_of(asked))
    assert len(text.encode()) < MOST_BYTES
    elements = Elements(text)
    links = [value for _, attributes in elements.found for name, value in attributes.items()
             if name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset")]  # fmt: skip
    assert set(links) == {"#main"}
    assert not elements.of("link")
    assert not re.search(r"url\(|@import", text)
    assert "default-src 'none'" in text
    assert not [one for one in elements.found if "style" in one[1] or any(name.startswith("on") for name in one[1])]


def test_policy_names_what_stands_in_the_page() -> None:
    text = page(report_of(questions()["B5"]))
    assert re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1] == policy()  # type: ignore[index]


def test_hostile_text_stays_text() -> None:
    report = answer(bulk, {"much": "3000"})
    for text in (
        page(report),
        form.asked_page(bulk, {"much": EVIL, "set": f"{EVIL}={EVIL}"}, Links("web", frozenset("X1"))),
    ):
        elements = Elements(text)
        assert len(elements.of("script")) == 2
        assert not elements.of("img")
        assert "\x00" not in text
        assert "&lt;img src=x" in text
    data = re.search(r'<script type="application/json" class="data">(.*?)</script>', page(report))
    assert data
    assert json.loads(data[1])["moments"]
    assert fromstring(svg(report)).get("aria-label", "").startswith("X1: What of </script>")


def test_a_long_run_is_folded_and_says_so() -> None:
    report = answer(bulk, {"much": "3000000"})
    assert len(report.flights) > 1000
    text = page(report)
    assert len(text.encode()) < MOST_BYTES
    assert "ustack lab X1 --trace shows all" in text
    story = Story(report)
    assert len(story.rows) <= MOST_ROWS
    shown = len(story.flights) + sum(hidden.segments for hidden in story.hidden)
    assert shown == len(report.flights)


@EACH
def test_every_sentence_of_the_answer_leads_to_an_instant(asked: Question) -> None:
    report = report_of(asked)
    story = Story(report)
    for sentence in report.sentences:
        found = story.moments[story.moment_of(sentence.at)]
        assert found <= sentence.at
        assert not [at for at in story.moments if found < at <= sentence.at]


@EACH
def test_page_in_chinese(asked: Question) -> None:
    language.choose("zh")
    text = page(report_of(asked))
    assert '<html lang="zh-Hans">' in text
    assert "发生了什么" in text


def test_all_words_of_the_pages_are_translated() -> None:
    known = language.Catalogue(language.FOLDER / "zh").sentences
    wanted = set(wording.KINDS.values())
    for path in Path(form.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "translate":
                wanted.update(one.value for one in ast.walk(node.args[0])
                              if isinstance(one, ast.Constant) and isinstance(one.value, str))  # fmt: skip
    for asked in questions().values():
        for note in report_of(asked).notes:
            event = note.event
            if isinstance(event, TimerEvent):
                wanted.update((event.timer, event.action))
            elif isinstance(event, Queued):
                wanted.add(event.queue)
    assert not sorted(word for word in wanted if word and not known.get(word))


# The commands


def test_commands_write_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lab", "B5", "--html", str(tmp_path / "b5.html"), "--svg", str(tmp_path / "b5.svg")]) == 0
    assert not capsys.readouterr().out
    assert "third ACK" in (tmp_path / "b5.html").read_text()
    fromstring((tmp_path / "b5.svg").read_text())
    assert main(["lab", "B5", "--html", str(tmp_path / "none" / "b5.html")]) == 2
    assert main(["lab", "--all"]) == 2


def test_site_is_whole(tmp_path: Path) -> None:
    assert main(["lab", "--all", "--html", str(tmp_path)]) == 0
    index = Elements((tmp_path / "index.html").read_text())
    linked = {str(one["href"]) for one in index.of("a")} - {"#main", "index.html"}
    assert linked == {f"{name}.html" for name in questions()}
    for path in tmp_path.glob("*.html"):
        for one in Elements(path.read_text()).of("a"):
            assert str(one["href"]) == "#main" or (tmp_path / str(one["href"])).is_file()


# The server


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Server]:
    server = Server(0, Pages(frozenset(["B5"])))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def get(server: Server, path: str, host: str = "", method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{server.server_address[1]}")
    connection.endheaders()
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    return reply.status, text


def test_server_stands_on_loopback_only(served: Server) -> None:
    assert served.server_address[0] == "127.0.0.1"
    assert served.url.startswith("http://127.0.0.1:")


def test_server_shows_both_outcomes_and_keeps_the_settings_in_the_link(served: Server) -> None:
    status, text = get(served, "/B5?silence=0.5&loss=&set=client.tcp_syn_retries=2")
    assert status == 200
    articles = Elements(text).of("article")
    assert [one["class"] for one in articles] == ["run half", "run half"]
    fields = {one.get("name"): one.get("value") for one in Elements(text).of("input") if one.get("name")}
    assert fields["silence"] == "0.5"
    assert fields["set"] == "client.tcp_syn_retries=2"


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("loss=900", "loss must be between 0% and 100%."),
        ("set=nonsense", "nonsense: write NAME=VALUE."),
        ("set=no_such=1", "no_such is nothing that B5 knows"),
        ("silence=much", "could not convert string to float"),
    ],
)
def test_a_wrong_setting_is_a_sentence(served: Server, query: str, sentence: str) -> None:
    status, text = get(served, f"/B5?{query}")
    assert status == 200
    assert re.search(r'class="complaint" role="alert">[^<]*', text)
    assert sentence in text


def test_server_refuses_what_is_not_its_own(served: Server) -> None:
    assert get(served, "/", host="evil.example:80")[0] == 421
    assert get(served, "/Z9")[0] == 404
    assert get(served, "/../../etc/passwd")[0] == 404
    assert get(served, "/B5?silence=" + "1" * 3000)[0] == 414
    assert get(served, "/B5", method="POST")[0] == 501


def test_an_endless_run_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "endless.py"
    own.write_text(
        "from ustack.lab import question\n\n@question('Y1', 'For ever?', 'It never ends.')\n"
        "def endless(lab):\n    while True:\n        pass\n"
    )
    monkeypatch.setattr(serve, "MOST_SECONDS", 3)
    with pytest.raises(serve.Refused, match="too much time"):
        Pages(frozenset(["Y1"]), str(own)).page("Y1", {})


def test_a_window_that_tells_a_story_has_a_chart() -> None:
    """F3 has one for each of its flows; a handshake has none."""
    found = charts(answer(questions()["F3"]), "h2")
    assert found is not None
    pictures = list(found.iter("svg"))
    assert len(pictures) == 5
    for picture in pictures:
        for path in picture.iter("path"):
            numbers = [float(word) for word in re.findall(r"-?[0-9.]+", str(path.get("d")))]
            assert all(-30 <= number <= WIDTH for number in numbers)
    assert charts(answer(questions()["B5"]), "h2") is None
