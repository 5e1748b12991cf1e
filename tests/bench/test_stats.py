"""What the benchmark says of its own figures."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest

from tools.bench import cases, counts, flame, layers, picture, report, stats
from tools.bench.stats import Sample


def rounds(*ratios: float, foreign: float = 0.0) -> list[Sample]:
    return [Sample(100 * ratio, 100, foreign) for ratio in ratios]


def test_the_ratio_is_the_median_of_the_rounds_not_of_the_figures():
    drifting = [Sample(100, 100), Sample(50, 50), Sample(10, 40)]
    assert stats.estimate(drifting).ratio == 1.0


def test_bounds_of_five_quiet_rounds_are_the_extremes():
    found = stats.estimate(rounds(0.9, 1.0, 1.1, 0.95, 1.05))
    assert (found.low, found.ratio, found.high) == pytest.approx((0.9, 1.0, 1.1))
    assert not found.noisy


def test_few_rounds_widen_the_bounds():
    five = stats.estimate(rounds(0.9, 1.0, 1.1, 1.0, 1.0))
    three = stats.estimate(rounds(0.9, 1.0, 1.1))
    assert three.low < five.low
    assert three.high > five.high
    assert stats.confidence(5) == pytest.approx(0.9375)


def test_noise_is_said_and_widens_the_bounds_by_what_others_took():
    quiet, noisy = stats.estimate(rounds(1, 1, 1, 1, 1)), stats.estimate(rounds(1, 1, 1, 1, 1, foreign=0.2))
    assert noisy.noisy
    assert noisy.low == pytest.approx(0.8)
    assert noisy.high == pytest.approx(1.25)
    assert not quiet.noisy
    assert noisy.text().startswith("~")


def test_a_baseline_that_moves_is_noise():
    found = stats.estimate([Sample(10, 10), Sample(20, 20), Sample(15, 15)])
    assert "baseline" in found.reasons[0]


def test_a_baseline_between_two_is_their_geometric_mean():
    assert stats.between(2, 8) == 4


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1.2345, "1.23"),
        (12.345, "12.3"),
        (123.45, "123"),
        (12345, "12 300"),
        (0.01234, "0.0123"),
        (math.nan, "-"),
    ],
)
def test_three_digits(value, text):
    assert stats.figure(value) == text


def test_jain():
    assert stats.jain([1, 1, 1, 1]) == pytest.approx(1)
    assert stats.jain([1, 0, 0, 0]) == pytest.approx(0.25)


def result(*lines: cases.Line, lower: bool = False, target: float = 1.0) -> cases.Result:
    return cases.Result("P0", "a <case>", "Gbit/s", "kernel", "bar", "moon", target, lower, list(lines))


def ours(*ratios: float) -> cases.Line:
    return cases.Line("ustack", "ustack & co", "ustack", stats.estimate(rounds(*ratios)))


@pytest.mark.parametrize(
    ("ratios", "lower", "said"),
    [
        ((1.1, 1.2, 1.3, 1.2, 1.2), False, "met"),
        ((0.7, 0.8, 0.9, 0.8, 0.8), False, "not met"),
        ((0.9, 1.0, 1.1, 1.0, 1.0), False, "within the spread"),
        ((1.1, 1.2, 1.3, 1.2, 1.2), True, "not met"),
        ((0.7, 0.8, 0.9, 0.8, 0.8), True, "met"),
    ],
)
def test_a_bar_is_met_only_by_the_whole_spread(ratios, lower, said):
    line = ours(*ratios)
    assert report.verdict(result(line, lower=lower), line) == said


def test_nothing_measured_is_a_reason_and_never_a_blank():
    line = cases.Line("pytcp", "PyTCP", "peer", reason="not built here")
    page = report.markdown([result(line)], {"kernel": "Linux"}, ["bench"])
    assert "not built here" in page
    assert "not built here" in report.table(result(line))
    assert "not built here" in picture.svg([result(line)])


def test_a_noisy_run_says_so_on_top():
    line = cases.Line("ustack", "ustack", "ustack", stats.estimate(rounds(1, 1, 1, foreign=0.5)))
    assert "machine was noisy" in report.markdown([result(line)], {}, ["bench"])


def test_the_picture_is_well_formed():
    drawn = ElementTree.fromstring(picture.svg([result(ours(0.5, 0.6, 0.7), ours(9, 10, 11))]))
    assert drawn.tag.endswith("svg")
    stacks = {("FLOORS|a<b", "CORE|c"): 3.0, ("FLOORS|a<b", "d"): 1.0}
    assert ElementTree.fromstring(flame.render(stacks, "t", layers.COLOURS)).tag.endswith("svg")


PERF = """python 1
\tffffffff81 _copy_to_iter ([kernel.kallsyms])
\tffffffff82 tun_do_read ([kernel.kallsyms])
\t       a83b us_receive (/x/_native.cpython-311-x86_64-linux-gnu.so)

python 1
\tffffffff81 tcp_v4_rcv ([kernel.kallsyms])
\tffffffff82 __netif_receive_skb ([kernel.kallsyms])
\tffffffff83 tun_get_user ([kernel.kallsyms])
\t       a83b us_send (/x/_native.so)

python 1
\t  1 CPyDef_tcp___connection___Connection___write (/x/ustack__mypyc.cpython-311.so)
\t  2 _PyEval_EvalFrameDefault (/x/libpython3.11.so.1.0)

python 1
\t  1 Py_INCREF (inlined)
\t  2 _PyEval_EvalFrameDefault (/x/libpython3.11.so.1.0)

python 1
\t  1 __memcpy_avx (inlined)
\t  2 place (/x/_native.so)
"""


def test_a_sample_has_one_layer():
    found = [layers.layer(stack) for stack in layers.parse(PERF)]
    assert found == [layers.COPY, layers.PEER, layers.FLOORS, layers.INTERPRETER, layers.COPY]


CALLGRIND = """version: 1
ob=(1) /x/_native.so
fn=(1) us_parse
0 100
cfn=(2) us_sum
calls=3 0
0 900
fn=(2)
0 900
ob=(2) /x/libpython3.11.so
fn=(3) PyDict_New
0 7
"""


def test_callgrind_counts_each_function_alone():
    assert counts.parse(CALLGRIND) == {
        ("/x/_native.so", "us_parse"): 100,
        ("/x/_native.so", "us_sum"): 900,
        ("/x/libpython3.11.so", "PyDict_New"): 7,
    }


KEPT = "# v\n\n[bulk] instructions\n      10000  = everything\n       1000  us_sum  (C core)\n"


@pytest.mark.parametrize(("count", "worse"), [(1200, True), (1030, False), (800, False)])
def test_a_dearer_function_is_a_regression(count, worse):
    said = counts.compare(KEPT, KEPT.replace("       1000", f"       {count}"))
    assert any(counts.is_worse(sentence) for sentence in said) is worse


def test_what_the_machine_decides_is_no_regression():
    said = counts.compare(KEPT, KEPT.replace("10000  =", "12000  ="))
    assert said
    assert not any(counts.is_worse(sentence) for sentence in said)


def test_kept_counts_can_be_read():
    table = counts._table(counts.KEPT.read_text())
    assert {"bulk: = everything", "ping: = everything", "connect: = everything"} <= set(table)
