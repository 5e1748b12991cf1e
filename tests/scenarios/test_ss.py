"""``ss`` and ``/proc/net/tcp`` of a Stack, in the kernel's columns."""

from __future__ import annotations

import shutil
import socket
import subprocess

import pytest

from tests.scenarios.conftest import MakeHosts
from ustack.stack.ss import Running, proc_net_tcp, ss

KEEPALIVE = socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [(17, "017ms"), (1200, "1.200ms"), (9000, "9sec"), (59_900, "59sec"), (75_000, "1min15sec"), (7_199_000, "119min")],
)
def test_a_timer_is_written_as_ss_writes_it(milliseconds: int, text: str) -> None:
    assert Running(2, milliseconds, 1).text() == f"timer:(keepalive,{text},1)"


def test_columns_and_timers(make_hosts: MakeHosts) -> None:
    hosts = make_hosts("delay=10ms")
    listener = hosts.listen(backlog=2)
    client = hosts.connect()
    served = hosts.accept(listener)
    served.setsockopt(*KEEPALIVE)
    client.sendall(bytes(300))
    hosts.pass_time(1)
    port = client.getsockname()[1]
    assert ss(hosts.far.stack.tcp, hosts.network.now, timers=True) == [
        "State  Recv-Q Send-Q Local Address:Port Peer Address:Port  Process",
        "LISTEN 0      2            0.0.0.0:80        0.0.0.0:*",
        f"ESTAB  300    0           10.0.0.2:80       10.0.0.1:{port} timer:(keepalive,119min,0)",
    ]
    (head, number, row) = ss(hosts.far.stack.tcp, hosts.network.now, info=True)[-3:]
    assert head.startswith("LISTEN")
    assert number.startswith("ESTAB")
    assert "rto:220" in row
    assert "cwnd:10" in row
    lines = proc_net_tcp(hosts.far.stack.tcp, hosts.network.now)
    assert lines[1].split()[1:5] == ["00000000:0050", "00000000:0000", "0A", "00000000:00000000"]
    assert lines[2].split()[1:5] == ["0200000A:0050", f"0100000A:{port:04X}", "01", "00000000:0000012C"]
    assert lines[2].split()[5].startswith("02:")


@pytest.mark.kernel
@pytest.mark.skipif(shutil.which("ss") is None, reason="there is no ss here")
def test_the_head_is_the_kernels(make_hosts: MakeHosts) -> None:
    ours = ss(make_hosts("delay=10ms").far.stack.tcp, 0)[0]
    theirs = subprocess.run(["ss", "-tan"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    assert ours.split() == theirs.replace("PortProcess", "Port Process").split()
