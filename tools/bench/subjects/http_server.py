"""A small asyncio HTTP/1.1 server, keep-alive, small answers: the same protocol class on either stack (P4)."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import common

BODY = b"Hello from the other end.\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


class Http(asyncio.Protocol):
    """Answers each complete head, whatever it asks for; requests with bodies are not its business."""

    def __init__(self) -> None:
        self.head = b""
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.head += data
        complete = self.head.count(b"\r\n\r\n")
        if complete:
            self.head = self.head[self.head.rindex(b"\r\n\r\n") + 4 :]
            self.transport.write(ANSWER * complete)


async def serve(options: Any) -> None:
    """asyncio's own event loop over either stack's listening socket."""
    stack = common.Stack(options)
    listener = stack.listen(common.HTTP)
    listener.setblocking(False)
    server = await asyncio.get_running_loop().create_server(Http, sock=listener)
    common.say_ready(options)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(common.parser(__doc__ or "").parse_args()))
