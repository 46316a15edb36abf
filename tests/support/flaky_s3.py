"""An HTTP proxy in front of an S3 server that has a bad day: errors, throttling, cut lines, silence.

::

    with FlakyS3(server_address) as s3:
        s3.add(Fault("error", status=503, code="SlowDown", times=3, method="PUT"))
        Store(f"s3://bucket/out?{s3.query}").write("a", b"")
        assert s3.requests[0] == Request("PUT", "/bucket/out/a", 503)

What passes is answered by the server behind it; every fault is of a real connection.
"""

import http.client
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

_NOT_PASSED_ON = frozenset(("connection", "keep-alive", "transfer-encoding", "expect", "content-length"))


@dataclass(slots=True)
class Fault:
    """What happens to requests that match, the first ``times`` of them.

    Attributes:
        kind: ``"error"``: answered with ``status`` and ``code``. ``"drop"``: the connection is reset when
            the request has come. ``"sever"``: it is reset in the middle of the request's body. ``"lose"``:
            the request is passed on, and the connection reset instead of the answer. ``"cut"``: likewise, in
            the middle of the answer's body. ``"slow"``: it is passed on after ``seconds``. ``"hang"``:
            nothing is ever said.
        status: Of an error.
        code: Of an error, as S3 names it.
        times: How many requests; None for all.
        every: Of those that match, only every so many'th.
        method: Only requests of this method.
        path: Only requests whose path and query match this pattern.
        seconds: How slow.
        seen: How many requests matched.
        hits: How many of them it has met.
    """

    kind: str
    status: int = 503
    code: str = "SlowDown"
    times: int | None = None
    every: int = 1
    method: str | None = None
    path: str = ""
    seconds: float = 0.0
    seen: int = 0
    hits: int = 0

    def meets(self, method: str, path: str) -> bool:
        if self.method not in (None, method) or not re.search(self.path, path):
            return False
        self.seen += 1
        if self.seen % self.every or (self.times is not None and self.hits >= self.times):
            return False
        self.hits += 1
        return True


@dataclass(frozen=True, slots=True)
class Request:
    """One request as the proxy saw it; the outcome is the status of its answer, or the fault's kind."""

    method: str
    path: str
    outcome: int | str


@dataclass(slots=True)
class FlakyS3:
    """The proxy.

    Attributes:
        server: Host and port of the S3 server behind it.
        requests: What has been asked so far, in the order of the answers.
    """

    server: tuple[str, int]
    requests: list[Request] = field(default_factory=list)
    _faults: list[Fault] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _proxy: "_Proxy | None" = None
    _port: int = 0

    def __enter__(self) -> "FlakyS3":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def query(self) -> str:
        """What a URI says behind its ``?`` to reach the proxy."""
        return f"endpoint_override=127.0.0.1:{self._port}&scheme=http&region=us-east-1"

    def start(self) -> None:
        """Listens, on the same port as before where it was stopped."""
        self._proxy = _Proxy(("127.0.0.1", self._port), self)
        self._port = self._proxy.server_address[1]
        threading.Thread(target=self._proxy.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Dies: connections are reset, new ones refused."""
        if self._proxy is not None:
            self._proxy.die()
            self._proxy = None

    def add(self, fault: Fault) -> Fault:
        """Has a fault from now on; of several that match, the first added happens."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def heal(self) -> None:
        """Has no fault any more, and forgets what was asked."""
        with self._lock:
            self._faults.clear()
            self.requests.clear()

    def fault_for(self, method: str, path: str) -> Fault | None:
        with self._lock:
            return next((fault for fault in self._faults if fault.meets(method, path)), None)

    def note(self, method: str, path: str, outcome: int | str) -> None:
        with self._lock:
            self.requests.append(Request(method, path, outcome))


class _Proxy(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, address: tuple[str, int], owner: FlakyS3) -> None:
        self.owner = owner
        self.dead = threading.Event()
        self._open: set[socket.socket] = set()
        super().__init__(address, _Handler)

    def process_request(self, request, client_address):  # type: ignore[no-untyped-def]
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):  # type: ignore[no-untyped-def]
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, client_address):  # type: ignore[no-untyped-def]
        """Says nothing: clients that hang up are part of the game."""

    def die(self) -> None:
        self.dead.set()
        self.shutdown()
        self.server_close()
        for connection in list(self._open):
            _reset(connection)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Proxy
    _BODY: ClassVar[str] = "<?xml version='1.0'?><Error><Code>{}</Code><Message>{}</Message></Error>"

    def _handle(self) -> None:
        owner = self.server.owner
        fault = owner.fault_for(self.command, self.path)
        kind = fault.kind if fault else ""
        if kind == "sever":
            self.rfile.read(int(self.headers.get("Content-Length", 0)) // 2)
            owner.note(self.command, self.path, kind)
            self._hang_up()
            return
        body = self._body()
        if body is None:
            self._hang_up()
            return
        if fault and kind == "error":
            owner.note(self.command, self.path, fault.status)
            text = self._BODY.format(fault.code, "injected").encode()
            self._answer(fault.status, [("Content-Type", "application/xml")], text)
            return
        if fault and kind == "slow":
            time.sleep(fault.seconds)
        if kind in ("hang", "drop"):
            owner.note(self.command, self.path, kind)
            if kind == "hang":
                self.server.dead.wait()
            self._hang_up()
            return
        status, headers, answer = self._pass_on(body)
        owner.note(self.command, self.path, kind if kind in ("lose", "cut") else status)
        if kind == "lose":
            self._hang_up()
        else:
            self._answer(status, headers, answer, cut=kind == "cut")

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle  # noqa: N815

    def _body(self) -> bytes | None:
        """The whole body; None where the client broke off."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self._exactly(int(self.headers.get("Content-Length", 0)))
        chunks = []
        while size := int(self.rfile.readline().split(b";")[0] or b"-1", 16):
            chunk = self._exactly(size) if size > 0 else None
            if chunk is None:
                return None
            chunks.append(chunk)
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass
        return b"".join(chunks)

    def _exactly(self, length: int) -> bytes | None:
        found = self.rfile.read(length)
        return found if len(found) == length else None

    def _pass_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(*self.server.owner.server, timeout=60)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _NOT_PASSED_ON}
        try:
            connection.request(self.command, self.path, body, {**headers, "Content-Length": str(len(body))})
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, cut: bool = False) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in _NOT_PASSED_ON:
                self.send_header(name, value)
        if status != 204:
            # Of a HEAD, what a GET would have.
            said = {name.lower(): value for name, value in headers}.get("content-length", "0")
            self.send_header("Content-Length", said if self.command == "HEAD" else str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        _reset(self.connection)

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002
        """Says nothing."""


def _reset(connection: socket.socket) -> None:
    """Ends a connection with RST, as a host that dies or a router that forgets does."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RD)
        connection.close()
    except OSError:
        pass
