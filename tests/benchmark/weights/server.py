"""A real HTTP server on a real socket that does what it is told, one answer a request, and keeps account of it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Headers = dict[str, str]


@dataclass
class Asked:
    """One request, and how many bytes of body went out for it."""

    path: str
    headers: Headers
    sent: int = 0

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


@dataclass
class Reply:
    """What the handler offers to an answer."""

    handler: BaseHTTPRequestHandler
    asked: Asked
    stopped: threading.Event

    def head(self, status: int, headers: Headers) -> None:
        self.handler.send_response(status)
        for name, value in headers.items():
            self.handler.send_header(name, value)
        self.handler.send_header("Connection", "close")
        self.handler.end_headers()

    def send(self, data: bytes) -> None:
        self.handler.wfile.write(data)
        self.handler.wfile.flush()
        self.asked.sent += len(data)


Answer = Callable[[Reply], None]


@dataclass
class Server:
    """`answers` are used one after the other; the last one stays."""

    port: int
    answers: list[Answer]
    asked: list[Asked] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/net.pth"

    @property
    def ranges(self) -> list[str | None]:
        return [asked.range for asked in self.asked]


@contextmanager
def serving(*answers: Answer) -> Iterator[Server]:
    """Serve on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = Asked(self.path, {name.lower(): value for name, value in self.headers.items()})
            answer = server.answers[min(len(server.asked), len(server.answers) - 1)]
            server.asked.append(asked)
            with suppress(OSError):  # the other side has hung up
                answer(Reply(self, asked, server.stopped))
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = Server(http.server_address[1], list(answers))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        http.shutdown()
        http.server_close()
        thread.join()


def whole(
    body: bytes,
    *,
    headers: Headers | None = None,
    etag: str | None = '"one"',
    breaks_after: int | None = None,
    ranges: bool = True,
    heeds_if_range: bool = True,
    stated_length: int | None = None,
) -> Answer:
    """The file, as a good server gives it, unless told otherwise. `breaks_after` counts bytes of this answer."""

    def answer(reply: Reply) -> None:
        begin = int((re.fullmatch(r"bytes=(\d+)-", reply.asked.range or "") or ["", "0"])[1])
        validator = {"ETag": etag} if etag else {}
        same = not heeds_if_range or reply.asked.headers.get("if-range") in {etag, *(headers or {}).values()}
        partial = ranges and same and reply.asked.range is not None
        if partial and begin >= len(body):
            return reply.head(416, {"Content-Range": f"bytes */{len(body)}", "Content-Length": "0"})
        data = body[begin:] if partial else body
        reply.head(
            206 if partial else 200,
            {
                "Content-Length": str(len(data) if stated_length is None else stated_length),
                **({"Content-Range": f"bytes {begin}-{len(body) - 1}/{len(body)}"} if partial else {}),
                **validator,
                **(headers or {}),
            },
        )
        return reply.send(data[:breaks_after])

    return answer


def status(code: int, body: bytes = b"", headers: Headers | None = None) -> Answer:
    """A bare answer."""

    def answer(reply: Reply) -> None:
        reply.head(code, {"Content-Length": str(len(body)), **(headers or {})})
        reply.send(body)

    return answer


def redirect(location: str, headers: Headers | None = None) -> Answer:
    return status(302, headers={"Location": location, **(headers or {})})


def by_path(answers: dict[str, Answer]) -> Answer:
    """Other answers for other paths."""
    return lambda reply: answers[reply.asked.path](reply)


def endless(headers: Headers) -> Answer:
    """A chunked body that never ends."""

    def answer(reply: Reply) -> None:
        reply.head(200, {"Transfer-Encoding": "chunked", **headers})
        block = b"x" * 65536
        while not reply.stopped.is_set():
            reply.handler.wfile.write(b"%x\r\n%b\r\n" % (len(block), block))
            reply.asked.sent += len(block)

    return answer


def chunked(body: bytes, headers: Headers | None = None) -> Answer:
    """A body without a stated length."""

    def answer(reply: Reply) -> None:
        reply.head(200, {"Transfer-Encoding": "chunked", "ETag": '"one"', **(headers or {})})
        reply.handler.wfile.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        reply.asked.sent += len(body)

    return answer


def waits(body: bytes, first: int, go_on: threading.Event) -> Answer:
    """The first bytes, then nothing until told to go on."""

    def answer(reply: Reply) -> None:
        reply.head(200, {"Content-Length": str(len(body)), "ETag": '"one"'})
        reply.send(body[:first])
        while not (go_on.wait(0.01) or reply.stopped.is_set()):
            pass
        reply.send(body[first:])

    return answer
