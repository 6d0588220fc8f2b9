"""Verifying a log over HTTP: from a static tree, from a real server, and from servers that mean no good."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cli_command import POLICY, run

from exports import SIGNER, export, failed, lives, note_of, root_of, told
from interlock.verify import BadUrl, Remote, Report, verify_export
from server_process import Access, running_server

Reply = Callable[["Handler"], bool]
SIZE = 700


class Handler(BaseHTTPRequestHandler):
    """Serves a folder; `reply` may answer instead, and says whether it did."""

    folder: Path
    reply: Reply
    seen: list[tuple[str, str | None]]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers.get("Authorization")))
        if type(self).reply(self):
            return
        file = self.folder / self.path.lstrip("/")
        if file.is_file():
            self.answer(200, file.read_bytes())
        else:
            self.answer(404, b"<h1>no</h1>", content_type="text/html")

    def answer(self, status: int, body: bytes, content_type: str = "text/plain", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def served(
    folder: Path, reply: Reply = lambda _: False
) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """A server of this folder: its URL, and what it was asked."""
    made = type("Made", (Handler,), {"folder": folder, "reply": staticmethod(reply), "seen": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), made)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", made.seen  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()


def verified(url: str, token: str | None = None, patience: float = 10.0, **options: Any) -> Report:
    with Remote(url, token=token, patience=patience) as log:
        return verify_export(log, **{"vkey": SIGNER.vkey, **options})


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("static")
    export(folder, lives(SIZE))
    return folder


@pytest.mark.parametrize("end", ["", "/"])
def test_a_static_tree_is_verified_like_a_folder(tree: Path, end: str) -> None:
    done: list[int] = []
    with served(tree) as (url, asked):
        report = verified(url + end, progress=lambda at, _: done.append(at))
    assert report.ok, told(report)
    assert report == verify_export(tree, vkey=SIGNER.vkey)
    assert done == [256, 512, 700]
    assert {key for _, key in asked} == {None}


def test_a_tree_below_a_prefix_is_verified(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/ledger").symlink_to(tree)
    with served(tmp_path) as (url, _):
        assert verified(f"{url}/a/ledger").ok


def grown(folder: Path, raw: list[bytes]) -> None:
    """A tree that a log has grown into: unfinished tiles that were finished since are gone, others stay."""
    export(folder, raw[:SIZE])
    export(folder, raw)
    for name in ("tile/0/002.p/188", "tile/entries/002.p/188"):
        (folder / name).unlink()
    (folder / "checkpoint").write_text(note_of(*root_of(raw[:SIZE]), SIGNER))


def test_a_log_that_grows_while_it_is_read_is_verified_at_the_size_it_had(tmp_path: Path) -> None:
    grown(tmp_path, list(lives(2000)))
    with served(tmp_path) as (url, asked):
        report = verified(url)
    assert report.ok, told(report)
    assert report.size == SIZE
    assert {"/tile/0/002.p/188", "/tile/0/002", "/tile/entries/002"} <= {path for path, _ in asked}


def test_of_a_full_tile_only_what_the_checkpoint_covers_counts(tmp_path: Path) -> None:
    raw = list(lives(2000))
    grown(tmp_path, [*raw[:SIZE], *[b"no entry"] * 1300])
    with served(tmp_path) as (url, _):
        assert verified(url).ok
        for name, size in (("tile/0/002", 187 * 32), ("tile/entries/002", 1000)):
            good = (tmp_path / name).read_bytes()
            (tmp_path / name).write_bytes(good[:size])
            assert failed(verified(url)), name
            (tmp_path / name).write_bytes(good)


def test_a_changed_tile_fails_over_http_too(tree: Path, tmp_path: Path) -> None:
    export(tmp_path, lives(SIZE))
    for name in ("tile/0/001", "tile/entries/001", "tile/1/000.p/2", "checkpoint"):
        good = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(good[:30] + bytes([good[30] ^ 1]) + good[31:])
        with served(tmp_path) as (url, _):
            assert failed(verified(url)), name
        (tmp_path / name).write_bytes(good)


def test_the_key_goes_to_the_server_that_was_named_and_to_no_other(tree: Path) -> None:
    def elsewhere(handler: Handler) -> bool:
        if "entries" not in handler.path:
            return False
        handler.answer(302, b"", Location=f"{other}{handler.path}")
        return True

    with served(tree) as (other, asked), served(tree, elsewhere) as (url, first):
        report = verified(url, token="ilk_person_x")
    assert report.cannot_check
    assert "redirects elsewhere" in told(report)
    assert asked == []
    assert {key for _, key in first} == {"Bearer ilk_person_x"}


def test_a_redirect_on_the_same_server_is_followed(tree: Path) -> None:
    def moved(handler: Handler) -> bool:
        if handler.path.startswith("/old/"):
            handler.answer(307, b"", Location=handler.path.removeprefix("/old"))
            return True
        return False

    with served(tree, moved) as (url, _):
        assert verified(f"{url}/old").ok


def test_a_server_that_stumbles_is_asked_again(tree: Path) -> None:
    stumbled: set[str] = set()

    def stumble(handler: Handler) -> bool:
        if handler.path in stumbled or not handler.path.startswith("/tile"):
            return False
        stumbled.add(handler.path)
        handler.answer(503, b"")
        return True

    with served(tree, stumble) as (url, _):
        assert verified(url).ok


def _always(status: int, body: bytes = b"", **headers: str) -> Reply:
    def reply(handler: Handler) -> bool:
        if "tile" not in handler.path and status != 200:
            return False
        handler.answer(status, body, **headers)
        return True

    return reply


def _endless(handler: Handler) -> bool:
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    try:
        for _ in range(2000):
            handler.wfile.write(b"x" * 65_536)
    except OSError:
        pass
    return True


def _slow(handler: Handler) -> bool:
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    try:
        for _ in range(100):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            time.sleep(0.05)
    except OSError:
        pass
    return True


def _truncated(handler: Handler) -> bool:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"x")
    handler.close_connection = True
    return True


def _no_http(handler: Handler) -> bool:
    handler.wfile.write(b"SSH-2.0-nonsense\r\n\r\n")
    handler.close_connection = True
    return True


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (_always(500), "the server answered 500"),
        (_always(401), "with a key only"),
        (_always(403), "with a key only"),
        (_always(418), "the server answered 418"),
        (_always(204), "the server answered 204"),
        (_always(302, Location="/tile/0/000"), "redirects"),
        (_always(302), "redirects"),
        (_always(302, Location="http://[bad"), "redirects"),
        (_always(302, Location="https://127.0.0.1/"), "redirects elsewhere"),
        (_always(200, b"<html>", content_type="text/html; charset=utf-8"), "a web page"),
        (_always(200, gzip.compress(b"x" * 9_000_000), Content_Encoding="gzip"), "compressed"),
        (_slow, "too slowly"),
        (_truncated, "the connection failed"),
        (_no_http, "the connection failed"),
    ],
)
def test_a_server_that_does_not_answer_properly_says_nothing_about_the_log(
    tree: Path, reply: Reply, why: str
) -> None:
    with served(tree, reply) as (url, _):
        report = verified(url, patience=1.0)
    assert report.cannot_check, told(report)
    assert why in told(report)


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (_endless, "larger than"),
        (_always(200, b""), "not a signed note"),
        (_always(200, b"\xff\x00" * 500), "not UTF-8"),
        (_always(404), "missing"),
    ],
)
def test_a_server_that_serves_something_else_fails(tree: Path, reply: Reply, why: str) -> None:
    with served(tree, reply) as (url, _):
        report = verified(url)
    assert failed(report), told(report)
    assert why in told(report)


def test_where_there_is_no_log_nothing_can_be_checked(tmp_path: Path) -> None:
    with served(tmp_path) as (url, _):
        assert verified(url).cannot_check
    assert verified(url, patience=1.0).cannot_check


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/x",
        "http://",
        "https:///ledger",
        "http://user:word@host/",
        "http://host/?q=1",
        "http://host/#x",
        "http://[::1",
        "http://host:99999999/",
        "nonsense",
    ],
)
def test_what_is_no_url_of_a_log_is_refused(url: str) -> None:
    with pytest.raises(BadUrl):
        Remote(url)


def test_a_token_cannot_smuggle_a_header() -> None:
    for token in ("a\r\nX: y", "a b", "é"):
        with pytest.raises(BadUrl):
            Remote("http://localhost", token=token)


# --- a real server, with the command ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def access(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Access]]:
    folder = tmp_path_factory.mktemp("served")
    (folder / "policy.yaml").write_text(POLICY)
    with running_server(folder / "home", folder / "policy.yaml") as running:
        yield folder / "home", running


def test_the_command_verifies_a_running_server_with_a_persons_key(
    access: tuple[Path, Access], tmp_path: Path
) -> None:
    home, running = access
    key_file = tmp_path / "key"
    key_file.write_text(running.person_key)
    key_file.chmod(0o600)
    url = f"{running.url}/ledger"
    answer = run(
        tmp_path, "ledger", "verify", url, "--key-file", str(key_file), "--home", str(home), "--json"
    )
    assert answer.code == 0, answer.out + answer.err
    assert answer.json["ok"] is True
    assert answer.json["size"] > 0
    closed = run(tmp_path, "ledger", "verify", url, "--json")
    assert closed.code == 6
    assert "with a key only" in closed.out
