"""Fast Open between ustack and the kernel: both roles, IPv4 and IPv6, and both ends count the same."""

from __future__ import annotations

from tests.kernel.kernel_world import Namespace


def test_fast_open_with_the_kernel(namespace: Namespace) -> None:
    app = namespace.app("fastopen")
    assert app.wait() == 0, app.output()
    said = app.output()
    for role in ("client", "server"):
        for family in ("AF_INET", "AF_INET6"):
            assert f"{role} {family} 0 1 1" in said, said  # the first visit brings the cookie home
    assert "TCPFastOpenActive 4 4" in said, said
    assert "TCPFastOpenPassive 4 4" in said, said
    assert "TCPFastOpenCookieReqd 2 2" in said, said
    assert "TCPFastOpenActiveFail 0 0" in said, said
