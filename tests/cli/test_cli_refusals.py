"""Every command, and what is wrong with its arguments: one sentence on standard error, status 2, never a traceback."""

from __future__ import annotations

import pytest

from ustack.cli import get, ping, serve
from ustack.cli.command import COMMANDS, main
from ustack.iperf3 import command as iperf3

NETWORK = [
    "--address",
    "--address 198.18.0.300/24",
    "--address host",
    "--address 198.18.0.2",
    "--address 127.0.0.1/8",
    "--address ::ffff:198.18.0.2/24",
    "--address fd00::2/129",
    "--address 198.18.0.2/24/24",
    "--address 198.18.0.2/24 --address 198.18.0.2/24",
    "--mtu 67",
    "--mtu 1279 --address fd00::2/64",
    "--mtu 70000",
    "--mtu 1_500",
    "--mtu -1500",
    "--mtu \u0661\u0665\u0660\u0660",
    "--mtu 1e3",
    f"--mtu {'9' * 5000}",
    "--impair loss=lots",
    "--impair magic=3",
    "--impair loss=200%",
    "--impair loss=-1%",
    "--impair delay=-5ms",
    "--impair delay=nan",
    "--impair rate=0",
    "--impair loss",
    "--impair =",
    "--impair seed=x",
    "--impair delay=1e400s",
    f"--impair delay={'9' * 400}s",
    f"--impair seed={'9' * 5000}",
    "--sysctl tcp_magic=1",
    "--sysctl tcp_sack",
    "--sysctl tcp_sack=yes",
    "--sysctl tcp_sack=9",
    "--sysctl tcp_sack=",
    "--sysctl tcp_rmem=1",
    "--sysctl tcp_rmem=a,b,c",
    "--sysctl tcp_rmem=3,2,1",
    "--sysctl tcp_congestion_control=nosuch",
    "--sysctl tcp_retries2=-1",
    f"--sysctl tcp_retries2={'9' * 5000}",
    "--sysctl =1",
    "--tun",
    "--tun aaaaaaaaaaaaaaaaaaaaaaaa",
    "--tun a/b",
    "--tun a\x00b",
    "--tun ..",
    "--plot",
    "--plot x.gif",
    "--plot x",
    "--nosuch",
]
"""What ``serve``, ``get``, ``ping`` and ``iperf3`` have in common."""

OWN = {
    "serve": [
        "",
        ". extra",
        ". --port 0",
        ". --port 65536",
        ". --port -1",
        ". --port http",
        ". --port 8_0",
        ". --port 80.0",
        f". --port {'9' * 5000}",
        "/nonexistent",
        "/etc/passwd",
        "a\x00b",
        f"{'x' * 5000}",
        ". --most",
    ],
    "get": [
        "",
        "198.18.0.1",
        "https://198.18.0.1/",
        "http:///x",
        "http://[/x",
        "http://[::1/x",
        "http://198.18.0.1:99999/",
        "http://198.18.0.1:0/",
        "http://198.18.0.1:x/",
        "http://198.18.0.1:-1/",
        "http://198.18.0.1/a\r\nb",
        "http://198.18.0.1/\x00",
        "http://198.18.0.1/ --timeout -1",
        "http://198.18.0.1/ --timeout 0",
        "http://198.18.0.1/ --timeout nan",
        "http://198.18.0.1/ --timeout inf",
        "http://198.18.0.1/ --timeout 1e300",
        "http://198.18.0.1/ --timeout x",
        "http://198.18.0.1/ --kernel --trace",
        "http://198.18.0.1/ --kernel --address 198.18.0.2/24",
    ],
    "ping": [
        "",
        "nosuch.invalid",
        f"{'x' * 5000}",
        "x..y",
        "300.1.1.1",
        "198.18.0.1 -s 70000",
        "198.18.0.1 -s -1",
        "198.18.0.1 -s x",
        "198.18.0.1 -c -1",
        "198.18.0.1 -c 1.5",
        "198.18.0.1 -i -1",
        "198.18.0.1 -i nan",
        "198.18.0.1 -i inf",
        "198.18.0.1 -W -1",
        "198.18.0.1 -W 1e300",
        "198.18.0.1 -W x",
    ],
    "python": [
        "",
        "nosuch.py",
        "--for nowhere x.py",
        "--for 300.0.0.0/8 x.py",
        "-m",
        "-c",
    ],
    "lab": [
        "Z9",
        "nosuch",
        "nosuch.py",
        "B5 --set",
        "B5 --set tcp_sack",
        "B5 --set tcp_sack=9",
        "B5 --set tcp_sack=many",
        "B5 --set nosuch=1",
        "B5 --set delay=soon",
        "B5 --set nobody.tcp_sack=0",
        "B5 --plot x.txt",
        "B5 --control reno",
        "--loss 1%",
        "cc --control nosuch",
        "cc --control ,",
        "cc --control /nonexistent.py:Mine",
        "cc --control /dev/null:Mine",
        "cc --rate fast",
        "cc --rate 0Mbit",
        "cc --delay 5",
        "cc --loss 200%",
        "cc --loss lots",
        "cc --buffer 0",
        "cc --buffer x",
        "cc --flows 0",
        "cc --flows 65",
        "cc --seconds 0",
        "cc --seconds 1.5",
        "cc --seeds 0",
        "cc --seeds 9999 --delay 1ms,2ms,3ms",
        "cc --jobs 0",
        "cc --plot x.gif",
        "cc --table x.txt",
        "B5 --most x",
        "B5 --lang",
    ],
    "ladder": [
        "",
        "/nonexistent.pcap",
        "/",
        "/dev/null",
        "/etc/passwd",
        "a\x00b",
        "x.pcap -n 0",
        "x.pcap -n -1",
        "x.pcap -n x",
        "x.pcap --most 0",
        "x.pcap --most -5",
        f"x.pcap --most {'9' * 5000}",
    ],
    "explain": [
        "",
        "/nonexistent.pcap",
        "/",
        "/dev/null",
        "/etc/passwd",
        "a\x00b",
        "x.pcap -n 0",
        "x.pcap -n x",
        "x.pcap --nosuch",
    ],
    "plot": [
        "",
        "/nonexistent.pcap",
        "/",
        "/dev/null",
        "/etc/passwd",
        "a\x00b",
        "x.pcap --out x.gif",
        "x.pcap --out x",
        "x.pcap --out",
        "x.pcap -n 0",
        "x.pcap --from -1",
        "x.pcap --to 0",
        "x.pcap --to x",
    ],
    "iperf3": [
        "",
        "-s -c 198.18.0.1",
        "-c",
        "-c 198.18.0.1 -p 99999",
        "-c 198.18.0.1 -p 0",
        "-c 198.18.0.1 -p x",
        "-s -p 99999",
        "-c nosuch.invalid",
        f"-c {'x' * 5000}",
        "-s -B nosuch.invalid",
        "-c 198.18.0.1 -C nosuch",
        f"-c 198.18.0.1 -C {'x' * 5000}",
        "-c 198.18.0.1 -C a\x00b",
        "-c 127.0.0.1 --kernel -C nosuch",
        "-c 198.18.0.1 -t 0",
        "-c 198.18.0.1 -t -1",
        "-c 198.18.0.1 -t 1.5",
        "-c 198.18.0.1 -t 99999999",
        "-c 198.18.0.1 -n -1",
        "-c 198.18.0.1 -n nan",
        "-c 198.18.0.1 -n inf",
        "-c 198.18.0.1 -n 1e400",
        "-c 198.18.0.1 -n K",
        "-c 198.18.0.1 -k 0",
        "-c 198.18.0.1 -n 1M -k 5",
        "-c 198.18.0.1 -O -1",
        "-c 198.18.0.1 -P 0",
        "-c 198.18.0.1 -P 129",
        "-c 198.18.0.1 -P 1_0",
        "-c 198.18.0.1 -R --bidir",
        "-c 198.18.0.1 -l 0",
        "-c 198.18.0.1 -l 2M",
        "-c 198.18.0.1 -M 10",
        "-c 198.18.0.1 -M 99999",
        "-c 198.18.0.1 -w -5",
        "-c 198.18.0.1 -w 100G",
        "-c 198.18.0.1 -i -1",
        "-c 198.18.0.1 -i 0.01",
        "-c 198.18.0.1 -i nan",
        "-c 198.18.0.1 -1",
        "-c 198.18.0.1 -B 198.18.0.2",
        "-s -t 5",
        "-s -R",
        "-s --kernel --pcap x",
    ],
    "packetdrill": [
        "",
        "--nosuch",
    ],
}
SAMPLE = {"serve": ".", "get": "http://198.18.0.1/", "ping": "198.18.0.1", "iperf3": "-c 198.18.0.1"}

MISTAKES = [(command, own) for command, all_own in OWN.items() for own in all_own]
MISTAKES += [(command, f"{sample} {wrong}") for command, sample in SAMPLE.items() for wrong in NETWORK]


@pytest.fixture(autouse=True)
def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong is said before anything is touched."""

    def refuse(*_: object) -> None:
        raise AssertionError("this would have been tried")

    for module in (serve, get, ping, iperf3):
        monkeypatch.setattr(module, "open_host", refuse)
    monkeypatch.setattr(iperf3.Network, "connect", refuse)
    monkeypatch.setattr(iperf3.Network, "listen", refuse)


def test_every_command_is_here() -> None:
    assert set(OWN) == set(COMMANDS)


@pytest.mark.parametrize(("command", "words"), MISTAKES, ids=lambda text: ascii(text[:40]))
def test_one_sentence(capsys: pytest.CaptureFixture[str], command: str, words: str) -> None:
    arguments = [command, *(word for word in words.split(" ") if word)]
    status: object = None
    try:
        status = main(arguments)
    except SystemExit as end:
        status = end.code
    said = capsys.readouterr()
    assert status == 2, said
    assert said.out == ""
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith("ustack")
    assert said.err.endswith(".\n")
    assert len(said.err) < 400
    assert said.err.rstrip("\n").isprintable()


@pytest.mark.parametrize("words", ["", "nosuch", "--nosuch", "serve", "-s"])
def test_no_such_command(capsys: pytest.CaptureFixture[str], words: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words.split())
    assert capsys.readouterr().err.count("\n") == 1
