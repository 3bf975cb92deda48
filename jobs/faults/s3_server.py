"""An S3-compatible server that can be killed and keeps its objects, and that writes down what is stored in it.

    python jobs/faults/s3_server.py objects PORT JOURNAL    # the objects, in memory, for this host alone
    python jobs/faults/s3_server.py front ADDRESS PORT TO   # what listens on the network: hands every byte on to TO

Killing the front is a server that is gone: connections break, new ones are refused, objects stay.
"""

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def journaled(app: Wsgi, journal: Path) -> Wsgi:
    """`app`, with a line in `journal` for every object that it has taken: [seconds since 1970, "BUCKET/KEY"]."""
    lock = threading.Lock()

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        statuses: list[str] = []

        def started(status: str, headers: Any, *more: Any) -> Any:
            statuses.append(status)
            return start(status, headers, *more)

        body = list(app(environ, started))
        path = environ["PATH_INFO"].strip("/")
        if environ["REQUEST_METHOD"] == "PUT" and "/" in path and statuses[0].startswith("200"):
            with lock, journal.open("a") as file:
                file.write(json.dumps([time.time(), path]) + "\n")
        return body

    return answer


def serve_objects(port: int, journal: Path) -> None:
    """Until it is killed."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    inner: Any = server._server
    inner.app = journaled(inner.app, journal)
    threading.Event().wait()


async def serve_front(address: str, port: int, to: int) -> None:
    """Until it is killed."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", to)
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    async with await asyncio.start_server(connected, address, port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1] == "objects":
        serve_objects(int(sys.argv[2]), Path(sys.argv[3]))
    else:
        asyncio.run(serve_front(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
