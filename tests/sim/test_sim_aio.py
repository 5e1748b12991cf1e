"""asyncio programs in virtual time: reconnects, loss, a cable that is out, and the same run for the same seed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from ustack.sim.aio import Net, NeverEndsError, run

pytest_plugins = ["pytester"]

REQUESTS = 20


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
    finally:
        writer.close()


async def ask_patiently(net: Net, host: object, address: str) -> list[str]:
    """A client that connects again whenever an answer takes more than a second."""
    answers: list[str] = []
    writer: asyncio.StreamWriter | None = None
    while len(answers) < REQUESTS:
        try:
            if writer is None:
                reader, writer = await asyncio.wait_for(host.open_connection(address, 80), 3)  # type: ignore[attr-defined]
            writer.write(f"request {len(answers)}\n".encode())
            line = await asyncio.wait_for(reader.readline(), 1)
            if not line:
                raise ConnectionResetError
            answers.append(line.decode().strip())
            await asyncio.sleep(0.1)
        except (OSError, TimeoutError):
            if writer is not None:
                writer.transport.abort()
            writer = None
            await asyncio.sleep(0.5)
    assert writer is not None
    writer.close()
    return answers


def reconnecting(impairment: str) -> Callable[[Net], Awaitable[tuple[list[str], list[str], float]]]:
    async def main(net: Net) -> tuple[list[str], list[str], float]:
        client, server = net.host("client"), net.host("server")
        link = net.join(client, server, impairment)
        await server.start_server(answer, port=80)
        task = asyncio.create_task(ask_patiently(net, client, server.address))
        await asyncio.sleep(1)
        link.cut()
        await asyncio.sleep(10)
        link.heal()
        return await task, net.trace, net.now

    return main


@pytest.mark.parametrize("seed", range(12))
def test_reconnects_through_loss_and_a_cut(seed: int) -> None:
    answers, _, took = run(reconnecting("delay=20ms,loss=5%,reorder=2%"), seed=seed)
    assert answers == [f"REQUEST {number}" for number in range(REQUESTS)]
    assert took > 11


def test_the_same_seed_is_the_same_run() -> None:
    first = run(reconnecting("delay=20ms,loss=5%"), seed=3)
    assert first == run(reconnecting("delay=20ms,loss=5%"), seed=3)
    assert first[1] != run(reconnecting("delay=20ms,loss=5%"), seed=4)[1]


def test_an_hour_passes_at_once() -> None:
    async def main(net: Net) -> float:
        begin = asyncio.get_running_loop().time()
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time() - begin

    before = time.monotonic()
    assert run(main) == pytest.approx(3600)
    assert time.monotonic() - before < 60


def test_a_wait_that_can_never_end_says_so() -> None:
    async def main(net: Net) -> None:
        client, server = net.host("client"), net.host("server")
        net.join(client, server)
        await server.start_server(answer, port=80)
        reader, _ = await client.open_connection(server.address, 80)
        await reader.readline()

    with pytest.raises(NeverEndsError, match="never end"):
        run(main)


def test_refused_and_timed_out() -> None:
    async def main(net: Net) -> float:
        client = net.host("client", settings={"tcp_syn_retries": 1, "tcp_syn_linear_timeouts": 0})
        server = net.host("server")
        link = net.join(client, server, "delay=10ms")
        with pytest.raises(ConnectionRefusedError):
            await client.open_connection(server.address, 80)
        link.cut()
        begin = net.now
        with pytest.raises(TimeoutError):
            await client.open_connection(server.address, 80)
        return round(net.now - begin, 3)

    assert run(main) == 3.0


def test_what_fails_says_its_seed_and_the_last_packets() -> None:
    async def main(net: Net) -> None:
        client, server = net.host("client"), net.host("server")
        net.join(client, server)
        with pytest.raises(ConnectionRefusedError):
            await client.open_connection("server", 80)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        run(main, seed=9)
    (note,) = caught.value.__notes__
    assert note.startswith("seed 9, 0.002000 s; the last packets:")
    assert " R. " in note


def test_the_fixture(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import asyncio

        async def main(net):
            here, there = net.host("here"), net.host("there")
            net.join(here, there, "delay=1s")
            await there.start_server(lambda reader, writer: writer.close(), port=7)
            reader, writer = await here.open_connection("there", 7)
            found = await reader.read()
            writer.close()
            return found, net.now

        def test_four_seconds(simulate):
            assert simulate(main, seed=1) == (b"", 4.0)
    """)
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
