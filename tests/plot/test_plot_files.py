"""The files that pictures are written to, and what is said when one cannot be."""

from __future__ import annotations

import importlib
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.explain.captures import play, seen_at
from tests.plot.test_plot_data import upload
from ustack.cli.command import main
from ustack.device.pcap import PcapWriter
from ustack.plot import draw
from ustack.plot.panel import BYTES, RATE, TIME, Curve, Marks, Panel, Picture
from ustack.units import MILLISECOND


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = str(tmp_path_factory.mktemp("plot") / "up.pcap")
    writer = PcapWriter(path)
    for record in seen_at(play(upload), "client"):
        writer.write([record.packet], record.at)
    writer.close()
    return path


def texts(svg: str) -> set[str]:
    return {element.text or "" for element in ET.fromstring(svg).iter() if element.tag.endswith("}text")}


def test_an_svg_has_its_words_as_text(capture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.svg"
    assert main(["plot", capture, "--out", str(out)]) == 0
    assert capsys.readouterr().out.startswith(f"{out}: 10.0.0.1:")
    found = texts(out.read_text())
    assert {"Sequence numbers", "Throughput", "Round trips", "KiB", "Mbit/s", "ms", "resent", "SACK blocks"} <= found
    assert "time (ms)" in found


def test_the_same_capture_gives_the_same_svg(capture: str, tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        assert main(["plot", capture, "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / "a.svg").read_text() == (tmp_path / "b.svg").read_text()


def test_png_and_html(capture: str, tmp_path: Path) -> None:
    for name in ("x.png", "x.html"):
        assert main(["plot", capture, "--out", str(tmp_path / name)]) == 0
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "x.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "<svg" in page
    assert "src=" not in page  # nothing is loaded from anywhere


def test_a_stretch_of_time(capture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", capture, "--from", "0.02", "--to", "0.05", "--out", str(tmp_path / "x.svg")]) == 0
    assert main(["plot", capture, "--from", "500", "--out", str(tmp_path / "x.svg")]) == 2
    assert "nothing is between --from and --to" in capsys.readouterr().err


def test_without_matplotlib_a_sentence_says_how_to_get_it(
    capture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module

    def missing(name: str, *rest: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(draw.importlib, "import_module", missing)
    assert main(["plot", capture, "--out", str(tmp_path / "x.svg")]) == 2
    assert "pip install 'ustack[plot]'" in capsys.readouterr().err


def test_a_folder_that_does_not_exist(capture: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", capture, "--out", str(tmp_path / "no" / "x.svg")]) == 2
    assert "No such file or directory" in capsys.readouterr().err


def test_axes_have_the_unit_that_fits() -> None:
    panels = [
        Panel("a", BYTES, [Curve("x", "one", [(0, 0), (5, 3 << 20)])]),
        Panel("b", TIME, [Curve("x", "one", [(0, 0), (5, 30 * MILLISECOND)])]),
        Panel("c", RATE, [], [Marks("x", "resent", [(3, 4_000_000)])]),
    ]
    figure = draw.draw(Picture("title", panels))
    assert [axis.get_ylabel() for axis in figure.axes] == ["MiB", "ms", "Mbit/s"]
    assert all(len(axis.get_legend().get_texts()) == 1 for axis in figure.axes)


def test_a_window_far_above_does_not_flatten_the_graph(capture: str, tmp_path: Path) -> None:
    panel = Panel("s", BYTES, [Curve("window", "window", [(0, 1 << 30)]), Curve("sent", "sent", [(0, 1000)])], top=1300)
    (axis,) = draw.draw(Picture("t", [panel])).axes
    assert axis.get_ylim() == (0, 1300)


def test_a_lab_question_draws_itself(tmp_path: Path) -> None:
    out = tmp_path / "a1.svg"
    assert main(["lab", "A1", "--plot", str(out)]) == 0
    assert {"Congestion window", "ssthresh", "Queue of the bottleneck"} <= texts(out.read_text())
