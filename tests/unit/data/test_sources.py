"""Downloads, from a real server on loopback."""

import hashlib
import random
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from topotune.data import sources
from topotune.data.sources import data_folder, download, drawn, verified
from topotune.errors import InputError

CONTENT = random.Random(0).randbytes(3_000_000)
SHA256, MD5 = hashlib.sha256(CONTENT).hexdigest(), hashlib.md5(CONTENT).hexdigest()


class Server:
    """Serves CONTENT; what it does, and what it was asked."""

    def __init__(self) -> None:
        self.ranges, self.sends, self.asked = True, len(CONTENT), list[str | None]()
        self.status = 200
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/content.tar"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = self.headers.get("Range")
                server.asked.append(asked)
                start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and server.ranges else 0
                if server.status != 200 or start >= len(CONTENT):
                    self.send_response(server.status if server.status != 200 else 416)
                    self.send_header("Content-Range", f"bytes */{len(CONTENT)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                body = CONTENT[start:]
                self.send_response(206 if asked and server.ranges else 200)
                if asked and server.ranges:
                    self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: server.sends])  # and then the connection ends

            def log_message(self, *_words: object) -> None:
                pass

        return Handler


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    thread = threading.Thread(target=one.http.serve_forever)
    thread.start()
    yield one
    one.http.shutdown()
    one.http.server_close()
    thread.join()


def test_a_file_is_fetched_once(server: Server, tmp_path: Path) -> None:
    to = tmp_path / "new" / "content.tar"
    for _ in range(2):
        download(server.url, to, sha256=SHA256, md5=MD5.upper())
        assert to.read_bytes() == CONTENT
    assert server.asked == [None]
    assert list(to.parent.iterdir()) == [to]
    to.write_bytes(b"something else")
    download(server.url, to)
    assert to.read_bytes() == b"something else"  # nobody said what it should be
    download(server.url, to, md5=MD5)
    assert to.read_bytes() == CONTENT


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on(server: Server, tmp_path: Path, ranges: bool) -> None:
    to, part = tmp_path / "content.tar", tmp_path / "content.tar.part"
    server.sends = 1_000_000
    with pytest.raises(
        InputError, match=r"broke off after 1000000 of 3000000 bytes\); the same command goes on"
    ) as error:
        download(server.url, to, sha256=SHA256)
    assert server.url in str(error.value)
    assert part.read_bytes() == CONTENT[:1_000_000]
    assert not to.exists()
    server.sends, server.ranges = len(CONTENT), ranges
    download(server.url, to, sha256=SHA256)
    assert server.asked == [None, "bytes=1000000-"]
    assert to.read_bytes() == CONTENT
    assert not part.exists()


def test_one_that_was_killed_before_it_was_renamed_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    to = tmp_path / "content.tar"
    (tmp_path / "content.tar.part").write_bytes(CONTENT)
    download(server.url, to, sha256=SHA256)
    assert to.read_bytes() == CONTENT
    assert len(server.asked) == 1
    to.unlink()
    (tmp_path / "content.tar.part").write_bytes(CONTENT + b"more than there is")
    download(server.url, to, sha256=SHA256)
    assert to.read_bytes() == CONTENT
    assert server.asked[-1] is None


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"md5": "0" * 32}], ids=["sha256", "md5"])
def test_a_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path, wrong: dict[str, str]) -> None:
    (name, value), right = next(iter(wrong.items())), {"sha256": SHA256, "md5": MD5}
    with pytest.raises(InputError) as error:
        download(server.url, tmp_path / "content.tar", **wrong)
    assert f"its {name.upper()} is {right[name]}, it should be {value}" in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_part_of_another_file_is_noticed(server: Server, tmp_path: Path) -> None:
    to = tmp_path / "content.tar"
    (tmp_path / "content.tar.part").write_bytes(b"x" * 100)
    with pytest.raises(InputError, match="is not the file that was expected"):
        download(server.url, to, sha256=SHA256)
    download(server.url, to, sha256=SHA256)
    assert to.read_bytes() == CONTENT


@pytest.mark.parametrize("status", [404, 503])
def test_a_server_that_refuses(server: Server, tmp_path: Path, status: int) -> None:
    server.status = status
    with pytest.raises(InputError, match=f"cannot be fetched: the server answers {status}") as error:
        download(server.url, tmp_path / "content.tar")
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_no_network(server: Server, tmp_path: Path) -> None:
    closed = Server()
    closed.http.server_close()
    for url in (closed.url, "http://no-such-host.invalid/x", "nonsense"):
        with pytest.raises(InputError, match="cannot be fetched") as error:
            download(url, tmp_path / "content.tar")
        assert url in str(error.value)
        assert str(tmp_path / "content.tar") in str(error.value)
        assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_silent_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(sources, "PATIENCE", 0.2)
    with (
        socket.create_server(("127.0.0.1", 0)) as deaf,
        pytest.raises(InputError, match=r"cannot be fetched \(timed out\)"),
    ):
        download(f"http://127.0.0.1:{deaf.getsockname()[1]}/x", tmp_path / "x")


def test_a_folder_that_cannot_be(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be fetched"):
        download(server.url, tmp_path / "file" / "content.tar")


def _verify(path: Path) -> bytes:
    return verified(path, hashlib.md5(b"right").hexdigest())


def test_verified_gives_the_content_or_says_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"right")
    assert _verify(path) == b"right"
    path.write_bytes(b"wrong")
    with pytest.raises(InputError, match=r"\(5 bytes\) is truncated or altered"):
        _verify(path)
    path.unlink()
    with pytest.raises(InputError, match="is missing"):
        _verify(path)


def test_the_parts_drawn_are_disjoint_in_order_and_always_the_same() -> None:
    train, validation = (drawn(10, part, 7).tolist() for part in ("train", "validation"))
    assert train == sorted(train)
    assert sorted(train + validation) == list(range(10))
    assert (train, validation) == (drawn(10, "train", 7).tolist(), [2, 6, 8])


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path / "nowhere"], ids=["not given", "not there"])
def test_the_data_folder_is_asked_for(make: Callable[[Path], Path | None], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'x'.*--data"):
        data_folder("x", make(tmp_path))
    assert data_folder("x", tmp_path) == tmp_path
