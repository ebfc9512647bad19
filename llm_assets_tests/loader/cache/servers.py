"""Servers of the tests on this machine: an S3 server, and a proxy before it that goes wrong as it is told."""

from __future__ import annotations

import http.client
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
}
_BUSY = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def wait_for(port: int, process: subprocess.Popen[Any], seconds: float = 60) -> None:
    """Until somebody listens on the port."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        assert process.poll() is None, f"the server ended with {process.returncode}"
        with socket.socket() as knock:
            if knock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"no server on port {port}")


@contextmanager
def stopped_at_the_end(process: subprocess.Popen[Any]) -> Generator[subprocess.Popen[Any]]:
    """The process, which ends with the context."""
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class S3Server:
    """An S3 server on the loopback interface, with one bucket. `name` says which, and its version."""

    port: int
    bucket: str = "sets"
    name: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def client(self) -> Any:
        config = Config(request_checksum_calculation="when_required")
        return boto3.client("s3", endpoint_url=self.url, config=config)

    def upload(self, folder: Path, name: str) -> str:
        """Put the files of a folder there; the URI of their folder."""
        client = self.client()
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                key = f"{name}/{file.relative_to(folder)}"
                client.put_object(Bucket=self.bucket, Key=key, Body=file.read_bytes())
        return f"s3://{self.bucket}/{name}"


@contextmanager
def moto_server(log: Path) -> Generator[S3Server]:
    """A moto server in a process of its own."""
    server = S3Server(free_port(), name=f"moto {version('moto')}")
    with log.open("wb") as out:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(server.port)]
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=os.environ | CREDENTIALS)
    with stopped_at_the_end(process):
        wait_for(server.port, process)
        server.client().create_bucket(Bucket=server.bucket)
        yield server


@dataclass
class Faults:
    """What share of the GET requests goes wrong, and how; `seed` decides which.

    `busy` 503, `stall` no answer for `stall_seconds`, `reset` the connection is reset, `cut` the body ends early,
    `short` less than was asked for with headers that agree, `flip` one bit of the body is wrong, `slow` a late answer.
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    stall_seconds: float = 30.0
    slow_seconds: float = 0.5

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._lock = threading.Lock()
        self.injected: Counter[str] = Counter()

    def next(self) -> tuple[str, float]:
        """What happens to the next request, and a random number for it."""
        with self._lock:
            names = [*self.shares, "none"]
            weights = [*self.shares.values(), max(0.0, 1 - sum(self.shares.values()))]
            fault = self._random.choices(names, weights)[0]
            self.injected[fault] += 1
            return fault, self._random.random()


class FaultyProxy(ThreadingHTTPServer):
    """Passes requests on to a server, with `faults`, which can be replaced at any time."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, upstream_port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream_port = upstream_port
        self.faults = Faults()
        self.ended = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that gave up are no news."""


@contextmanager
def faulty_proxy(upstream_port: int) -> Generator[FaultyProxy]:
    """A proxy in threads of this process."""
    with FaultyProxy(upstream_port) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            proxy.ended.set()
            proxy.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FaultyProxy

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(*self._upstream())

    def do_GET(self) -> None:
        faults = self.server.faults
        fault, where = faults.next()
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        if fault == "busy":
            self._answer(503, {"Content-Type": "application/xml"}, _BUSY)
            return
        if fault in {"stall", "slow"}:
            self.server.ended.wait(faults.stall_seconds if fault == "stall" else faults.slow_seconds)
        status, headers, body = self._upstream()
        if status >= 300 or not body:
            self._answer(status, headers, body)
        elif fault == "cut":
            self._answer(status, headers, body, told=len(body), cut=int(where * len(body)))
        elif fault == "short":
            self._answer(status, headers, body[: int(where * len(body))])
        elif fault == "flip":
            place = int(where * len(body))
            flipped = bytes([body[place] ^ 1 << int(where * 1e6) % 8])
            self._answer(status, headers, body[:place] + flipped + body[place + 1 :])
        else:
            self._answer(status, headers, body)

    def _upstream(self) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.server.upstream_port, timeout=60)
        try:
            connection.request(self.command, self.path, headers=dict(self.headers))
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()

    def _answer(
        self, status: int, headers: Mapping[str, str], body: bytes, told: int | None = None, cut: int | None = None
    ) -> None:
        self.send_response(status)
        kept = {name: value for name, value in headers.items() if name.lower() not in _OURS}
        if self.command == "HEAD":
            kept["Content-Length"] = {name.lower(): value for name, value in headers.items()}["content-length"]
        else:
            kept["Content-Length"] = str(len(body) if told is None else told)
        for name, value in kept.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True


_OURS = {"content-length", "connection", "transfer-encoding", "date", "server"}
