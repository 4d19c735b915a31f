"""One file over HTTP from servers on this machine that are silent, slow, endless or not what they say."""

import contextlib
import gzip
import hashlib
import os
import socket
import threading
from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest

from concord.data.images import download as room
from concord.data.images.download import download
from concord.errors import DataError

CONTENT = gzip.compress(bytes(range(256)) * 2000, mtime=0) + b"end"
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
MOST = 10_000_000
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(CONTENT)


@contextlib.contextmanager
def server(*answers):
    """Each connection gets the next of these: a function of (send, whether to go on)."""
    listening, ended, threads = socket.create_server(("127.0.0.1", 0)), threading.Event(), []

    def talk(connection, answer):
        with connection, contextlib.suppress(OSError):
            connection.recv(65536)
            answer(connection.sendall, ended)

    def serve():
        for answer in answers:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=talk, args=[connection, answer]))
            threads[-1].start()

    accepting = threading.Thread(target=serve)
    accepting.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/file"
    finally:
        ended.set()
        with contextlib.suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        accepting.join()
        for thread in threads:
            thread.join()


def whole(send, ended):
    send(WHOLE + CONTENT)


def silent(send, ended):
    ended.wait()


def dripping(head):
    """Says ``head`` at once, and then a byte now and then: never silent for as long as a socket waits."""

    def answer(send, ended):
        send(head)
        while not ended.wait(room.SILENCE / 4):
            send(b"1")

    return answer


def redirect(to):
    return lambda send, ended: send(b"HTTP/1.1 302 Found\r\nLocation: %b\r\n\r\n" % to.encode())


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(room, "SILENCE", 0.4)
    monkeypatch.setattr(room, "OPENING", 0.8)
    monkeypatch.setattr(room, "OFTEN", 0.01)


def test_a_file_comes_whole(tmp_path):
    with server(whole) as address:
        download(address, tmp_path / "f", MD5, MOST)
    assert (tmp_path / "f").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert room.digest_of(tmp_path / "f") == MD5


STALLED = {
    "says nothing": (silent, "no answer for 0.4 s"),
    "says its first line byte by byte": (dripping(b""), "no complete answer within 0.8 s"),
    "says its headers byte by byte": (
        dripping(b"HTTP/1.1 200 OK\r\nX-Header: "), "no complete answer within 0.8 s",
    ),
    "stops in the middle": (
        lambda send, ended: (send(WHOLE + CONTENT[:100]), ended.wait()), r"no answer for 0\.4 s|too slow",
    ),
    "says the file byte by byte": (dripping(WHOLE), r"bytes in \d s is too slow"),
    "says the size of a piece byte by byte": (
        dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), r"0 bytes in \d s is too slow",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STALLED)
def test_a_server_that_draws_it_out_is_left(name, tmp_path, impatient):
    answer, message = STALLED[name]
    before = threading.active_count()
    with server(answer) as address, pytest.raises(TimeoutError, match=message):
        download(address, tmp_path / "f", MD5, MOST)
    assert list(tmp_path.iterdir()) == []
    assert threading.active_count() == before


def test_what_a_redirection_says_beside_its_address_is_not_read(tmp_path, impatient):
    with server(whole) as target:
        drawn_out = dripping(b"HTTP/1.1 302 Found\r\nLocation: %b\r\n\r\n" % target.encode())
        with server(drawn_out) as address:
            download(address, tmp_path / "f", MD5, MOST)
    assert (tmp_path / "f").read_bytes() == CONTENT


def test_redirections_end(tmp_path):
    around = "/round"
    with server(*[redirect(around)] * 10) as address, pytest.raises(HTTPError, match="redirect"):
        download(address, tmp_path / "f", MD5, MOST)


@pytest.mark.parametrize("other", ["file:///etc/passwd", "ftp://127.0.0.1/file"])
def test_a_redirection_leads_to_no_other_kind_of_address(other, tmp_path):
    with server(redirect(other)) as address, pytest.raises(URLError):
        download(address, tmp_path / "f", MD5, MOST)
    assert list(tmp_path.iterdir()) == []


def endless(send, ended):
    send(b"HTTP/1.1 200 OK\r\n\r\n")
    while not ended.is_set():
        send(bytes(65536))


def boastful(send, ended):
    send(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n1")
    ended.wait()


@pytest.mark.parametrize("answer", [endless, boastful])
def test_more_than_the_file_has_is_not_taken(answer, tmp_path):
    with server(answer) as address, pytest.raises(DataError, match=r"is larger than 1\.0 MB"):
        download(address, tmp_path / "f", MD5, 1_000_000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT[:-1] + b"x", b"<html>please log in"])
def test_another_file_is_refused_and_what_was_there_stays(content, tmp_path):
    (tmp_path / "f").write_bytes(b"old")
    answer = lambda send, ended: send(b"HTTP/1.1 200 OK\r\n\r\n" + content)  # noqa: E731
    with (
        server(answer) as address,
        pytest.raises(DataError, match=rf"not the published file .*expected {MD5}"),
    ):
        download(address, tmp_path / "f", MD5, MOST)
    assert (tmp_path / "f").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_what_killed_processes_left_is_removed_and_that_of_living_ones_stays(tmp_path):
    gone = int(Path("/proc/sys/kernel/pid_max").read_text()) + 1
    names = [f"f.part-{gone}", f"f.part-{os.getppid()}", f"g.part-{gone}"]
    for name in names:
        (tmp_path / name).touch()
    with server(whole) as address:
        download(address, tmp_path / "f", MD5, MOST)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["f", *names[1:]])
