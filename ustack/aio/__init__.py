"""The stack inside an asyncio event loop: no thread, and one descriptor for any number of connections.

>>> async with ustack.aio.open_tun("ustack0", "198.18.0.2/24") as host:      # doctest: +SKIP
...     server = await host.start_server(talk, port=80)
...     await server.serve_forever()
"""

from __future__ import annotations

from ustack.aio.datagram import DatagramTransport
from ustack.aio.device import AsyncDevice
from ustack.aio.events import EventLoop
from ustack.aio.host import AsyncHost
from ustack.aio.opening import open_device, open_tun
from ustack.aio.server import Server
from ustack.aio.stream import StreamTransport

__all__ = [
    "AsyncDevice",
    "AsyncHost",
    "DatagramTransport",
    "EventLoop",
    "Server",
    "StreamTransport",
    "open_device",
    "open_tun",
]
