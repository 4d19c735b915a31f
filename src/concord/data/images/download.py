"""One file over HTTP, with a bound on all that a server can draw out: its silence, its slowness, the size.

A time limit of a socket holds for each piece that arrives, and a server that sends a byte a minute keeps
within it. So a thread watches the transfer as a whole, and shuts the connection of one that is too slow.
"""

import contextlib
import hashlib
import io
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib import request
from urllib.error import URLError

from concord.data import memory
from concord.errors import DataError

SILENCE = 20.0  # seconds: to connect, and between two pieces of an answer
OPENING = 40.0  # seconds until the first byte of the file, all redirections in it
SLOWEST = 10_000  # bytes per second since then, after the first SILENCE
OFTEN = 0.2  # seconds between two looks of who watches
PIECE = 1 << 16
REDIRECTIONS = 4


def download(address: str, target: Path, md5: str, most: int) -> None:
    """Put what lies at the address at ``target``, whole or not at all, if it has that digest.

    Raises DataError for more than ``most`` bytes or another digest, TimeoutError for a server that says
    nothing or too little, and other errors of the network and the disk as they come.
    """
    part = target.with_name(f"{target.name}.part-{os.getpid()}")
    _sweep(target)
    try:
        with part.open("wb") as out:
            digest = _fetched(address, out, most)
        if digest != md5:
            raise DataError(f"what {address} holds is not the published file (MD5 {digest}, expected {md5})")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def digest_of(path: Path) -> str:
    """The MD5 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _fetched(address: str, out: io.BufferedWriter, most: int) -> str:
    """Copy the file at the address and give its MD5."""
    digest, got = hashlib.md5(usedforsecurity=False), 0
    with _Watcher() as watcher, _opener(watcher).open(address, timeout=SILENCE) as response:
        promised = int(response.headers.get("Content-Length") or 0)
        watcher.opened()
        while piece := response.read1(PIECE):
            got += len(piece)
            if max(got, promised) > most:
                raise DataError(
                    f"{address} is larger than {memory.size(most)}, which the published file is not"
                )
            out.write(piece)
            digest.update(piece)
            watcher.got = got
    return digest.hexdigest()


class _Watcher:
    """Shuts the connection of a transfer that takes too long; on leaving, that is a TimeoutError."""

    def __init__(self) -> None:
        self.got = 0
        self.late = ""
        self._began, self._opened = time.monotonic(), 0.0
        self._socket: socket.socket | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "_Watcher":
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._ended.set()
        self._thread.join()
        if self.late and (error is None or isinstance(error, Exception)):
            raise TimeoutError(self.late) from error
        if isinstance(error.reason if isinstance(error, URLError) else error, TimeoutError):
            raise TimeoutError(f"no answer for {SILENCE:g} s") from error

    def connected(self, found: socket.socket) -> None:
        self._socket = found
        if self.late:
            raise TimeoutError(self.late)

    def opened(self) -> None:
        self._opened = time.monotonic()

    def _watch(self) -> None:
        while not self._ended.wait(OFTEN):
            self.late = self._complaint(time.monotonic())
            if self.late:
                break
        if self.late and self._socket is not None:
            with contextlib.suppress(OSError):  # it is shut already
                self._socket.shutdown(socket.SHUT_RDWR)

    def _complaint(self, now: float) -> str:
        if not self._opened:
            return f"no complete answer within {OPENING:g} s" if now - self._began > OPENING else ""
        seconds = now - self._opened
        if seconds <= SILENCE or self.got >= SLOWEST * seconds:
            return ""
        return f"{memory.size(self.got)} in {seconds:.0f} s is too slow"


def _opener(watcher: _Watcher) -> request.OpenerDirector:
    """For http and https alone, through the user's proxies; its connections are watched."""
    opener = request.OpenerDirector()
    opener.addheaders = [("User-Agent", "concord")]
    for handler in (
        request.ProxyHandler(),
        _Http(watcher),
        _Https(watcher),
        _Redirections(),
        request.HTTPErrorProcessor(),
        request.HTTPDefaultErrorHandler(),
        request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


class _Http(request.HTTPHandler):
    def __init__(self, watcher: _Watcher) -> None:
        super().__init__()
        self.watcher = watcher

    def http_open(self, req: request.Request) -> HTTPResponse:
        return self.do_open(_watched(HTTPConnection, self.watcher), req)


class _Https(request.HTTPSHandler):
    def __init__(self, watcher: _Watcher) -> None:
        super().__init__()
        self.watcher = watcher

    def https_open(self, req: request.Request) -> HTTPResponse:
        context = ssl.create_default_context()
        return self.do_open(_watched(HTTPSConnection, self.watcher), req, context=context)


class _Redirections(request.HTTPRedirectHandler):
    """Those of urllib read all that a redirection says, however long it is."""

    max_redirections = REDIRECTIONS

    def http_error_302(
        self, req: request.Request, fp: Any, code: int, msg: str, headers: Any
    ) -> HTTPResponse | None:
        fp.close()
        return super().http_error_302(req, io.BytesIO(), code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _watched(kind: type[HTTPConnection], watcher: _Watcher) -> Callable[..., HTTPConnection]:
    class Connection(kind):  # type: ignore[misc,valid-type]
        def connect(self) -> None:
            super().connect()
            watcher.connected(self.sock)

    return Connection


def _sweep(target: Path) -> None:
    """Remove what processes have left that were killed."""
    for left in target.parent.glob(f"{target.name}.part-*"):
        number = left.name.rpartition("-")[2]
        if number.isdigit() and not Path(f"/proc/{number}").exists():
            left.unlink(missing_ok=True)
