"""Fetching weights from a real HTTP server that behaves well, badly and worse."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from servers import running

from engines import cache, download, importers, pull
from engines.__main__ import main
from engines.published import PUBLISHED, Published
from realtime.errors import ModelError

NAME = "detector-nanodet"
TINY = Path(__file__).parent / "data" / "tiny_pose.onnx"
CONTENT = TINY.read_bytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        self.server.seen.append({k.lower(): v for k, v in self.headers.items()})
        plan = self.server.plan
        (plan.pop(0) if len(plan) > 1 else plan[0])(self)
        self.close_connection = True

    def head(self, status: int, length: int | None, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None: ...


class Server(ThreadingHTTPServer):
    """plan: what the next answers are; the last one stays."""

    daemon_threads = True
    plan: list[Callable[[Handler], None]]
    seen: list[dict[str, str]]
    gone: threading.Event

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/model.onnx"

    def handle_error(self, request: object, client_address: object) -> None: ...


@contextmanager
def serving(*plan: Callable[[Handler], None]) -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Handler)
    server.plan, server.seen, server.gone = list(plan), [], threading.Event()
    with running(server):
        yield server


# --- answers ------------------------------------------------------------------------------------


def whole(data: bytes = CONTENT, cut: int | None = None, **headers: str) -> Callable:
    """All of data, or the part asked for; the connection breaks off before byte cut."""

    def answer(handler: Handler) -> None:
        asked = handler.headers.get("Range", "")
        fits = handler.headers.get("If-Range") in (
            headers.get("ETag"),
            headers.get("Last_Modified"),
        )
        start = int(asked[6:-1]) if asked and fits else 0
        given = dict(headers)
        if start:
            given["Content_Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        handler.head(206 if start else 200, len(data) - start, **given)
        handler.wfile.write(data[start:cut])

    return answer


def status(code: int) -> Callable:
    return lambda handler: handler.head(code, 0)


def to(url: str) -> Callable:
    return lambda handler: handler.head(302, 0, Location=url)


def stall(handler: Handler) -> None:
    handler.head(200, len(CONTENT))
    handler.wfile.write(CONTENT[:1000])
    handler.server.gone.wait(20)


def endless(handler: Handler) -> None:
    handler.head(200, None)
    while not handler.server.gone.is_set():
        handler.wfile.write(bytes(1 << 16))


def reset(handler: Handler) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    handler.connection.close()


def page(handler: Handler) -> None:
    handler.head(200, 20, Content_Type="text/html; charset=utf-8")
    handler.wfile.write(b"<html>sign in</html>")


# --- what is fetched ----------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "快取 cache"
    monkeypatch.setenv(cache.VARIABLE, str(path))
    monkeypatch.setattr(download, "PAUSE", 0.01)
    return path


def entry(url: str, **changes: object) -> Published:
    known = replace(
        PUBLISHED[NAME], task="pose", url=url, size=len(CONTENT), digest=f"sha256:{SHA256}"
    )
    return replace(known, **changes)


def held(folder: Path) -> dict[str, bytes]:
    """Everything in the cache but its lock."""
    if not folder.exists():
        return {}
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != cache.LOCK}


def one_line(error: BaseException) -> str:
    assert isinstance(error, ModelError) and error.exit_code == 5
    assert "\n" not in str(error) and "Traceback" not in str(error)
    return str(error)


# --- good ends ----------------------------------------------------------------------------------


def test_fetched_once_then_there(folder: Path) -> None:
    with serving(whole()) as server:
        wanted = entry(server.url)
        path, fetched = pull.pull(wanted)
        assert fetched and path == folder / f"{NAME}.onnx" and path.read_bytes() == CONTENT
        assert pull.pull(wanted) == (path, False)
        assert len(server.seen) == 1
        assert server.seen[0]["accept-encoding"] == "identity" and "range" not in server.seen[0]
    assert set(held(folder)) == {f"{NAME}.onnx", f"{NAME}.json"}
    note = json.loads((folder / f"{NAME}.json").read_text())
    assert note["sha256"] == SHA256 and note["size"] == len(CONTENT) and note["url"] == wanted.url
    spec = cache.open_cached(wanted)
    assert (spec.name, spec.sha256, spec.verified) == (NAME, SHA256, True)


@pytest.mark.parametrize("validator", [{"ETag": '"abc"'}, {"Last_Modified": "Sat, 1 Jan 2022"}])
def test_a_cut_connection_is_taken_up_again(folder: Path, validator: dict[str, str]) -> None:
    cuts = [whole(cut=n, **validator) for n in (1000, 3000)]
    with serving(*cuts, whole(**validator)) as server:
        path, _ = pull.pull(entry(server.url))
        ranges = [seen.get("range") for seen in server.seen]
        assert ranges == [None, "bytes=1000-", "bytes=3000-"]
        assert server.seen[1]["if-range"] == next(iter(validator.values()))
    assert path.read_bytes() == CONTENT


def test_the_next_command_goes_on(folder: Path) -> None:
    with serving(whole(cut=2000, ETag='"a"'), status(503)) as server:
        wanted = entry(server.url)
        with pytest.raises(ModelError, match="0.0 MB are kept, the same command") as caught:
            pull.pull(wanted)
        one_line(caught.value)
        assert set(held(folder)) == {f"{NAME}.part", f"{NAME}.resume"}
        server.plan[:] = [whole(ETag='"a"')]
        assert pull.pull(wanted)[0].read_bytes() == CONTENT
        assert server.seen[-1]["range"] == "bytes=2000-"


def test_a_file_that_changed_meanwhile_is_fetched_from_its_beginning(folder: Path) -> None:
    with serving(whole(bytes(5000), cut=2000, ETag='"old"'), whole(ETag='"new"')) as server:
        wanted = entry(server.url, exact=False)
        assert pull.pull(wanted)[0].read_bytes() == CONTENT
        assert server.seen[1]["range"] == "bytes=2000-"


def test_weak_validators_resume_nothing(folder: Path) -> None:
    with serving(whole(cut=1000, ETag='W/"a"'), whole()) as server:
        with pytest.raises(ModelError, match="broke off"):
            pull.pull(entry(server.url))
        assert held(folder) == {}
        assert pull.pull(entry(server.url))[1]
        assert all("range" not in seen for seen in server.seen)


def test_a_part_of_another_address_is_not_used(folder: Path) -> None:
    folder.mkdir()
    (folder / f"{NAME}.part").write_bytes(b"x" * 100)
    (folder / f"{NAME}.resume").write_text(json.dumps(["https://old.example/", '"a"']))
    with serving(whole(ETag='"a"')) as server:
        assert pull.pull(entry(server.url))[0].read_bytes() == CONTENT
        assert "range" not in server.seen[0]


def test_a_server_that_cannot_resume_what_is_there(folder: Path) -> None:
    folder.mkdir()
    with serving(status(416), whole()) as server:
        (folder / f"{NAME}.part").write_bytes(b"x" * 100)
        (folder / f"{NAME}.resume").write_text(json.dumps([server.url, '"a"']))
        with pytest.raises(ModelError, match="cannot go on"):
            pull.pull(entry(server.url))
        assert held(folder) == {}
        assert pull.pull(entry(server.url))[1]


def test_redirects_are_followed(folder: Path) -> None:
    with serving(whole()) as target, serving(to(target.url)) as server:
        assert pull.pull(entry(server.url))[0].read_bytes() == CONTENT


def test_a_changed_file_is_fetched_anew(folder: Path) -> None:
    with serving(whole()) as server:
        path, _ = pull.pull(entry(server.url))
        path.write_bytes(CONTENT[:-1] + b"?")
        with pytest.raises(ModelError, match="changed since it was fetched"):
            cache.open_cached(entry(server.url))
        assert pull.pull(entry(server.url))[1] and path.read_bytes() == CONTENT


def test_the_bar() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    bar = pull.Bar("x", stream)
    bar(10**6, 4 * 10**6)
    bar.close()
    assert "x [#######......................." in stream.getvalue()
    assert "1.0 of 4.0 MB" in stream.getvalue() and stream.getvalue().endswith("\r\x1b[K")
    assert bar.line(10**6, None, 1.0) == "x 1.0 MB, 0.0 MB/s"
    silent = io.StringIO()
    pull.Bar("x", silent)(1, 2)
    assert silent.getvalue() == ""


# --- bad ends: one line, and the cache as before ------------------------------------------------

LONGER = CONTENT + b"more"
REFUSED: dict[str, tuple[tuple[Callable, ...], dict[str, object], str]] = {
    "wrong hash": ((whole(CONTENT[:-1] + b"?"),), {}, "is not the published file"),
    "wrong sha1": ((whole(),), {"digest": "sha1:" + "0" * 40}, "its SHA1 is another one"),
    "wrong prefix": ((whole(),), {"digest": "sha256:00000000"}, "its SHA256 is another"),
    "html": ((page,), {}, "sends a web page instead"),
    "html as binary": (
        (whole(b"\n<!DOCTYPE html>"),), {"exact": False, "size": 900}, "is a web page"
    ),
    "lfs pointer": (
        (whole(b"version https://git-lfs.github.com/spec/v1\noid"),),
        {"exact": False}, "only a pointer",
    ),
    "404": ((status(404),), {}, "answers 404 Not Found"),
    "403": ((status(403),), {}, "answers 403 Forbidden"),
    "410": ((status(410),), {}, "answers 410"),
    "500": ((status(500),), {}, "500"),
    "429": ((status(429),), {}, "429"),
    "cut": ((whole(cut=1000),), {}, "broke off"),
    "cut without a length": (
        (lambda h: (h.head(200, None), h.wfile.write(CONTENT[:1000])),), {}, "broke off"
    ),
    "longer": ((whole(LONGER),), {}, f"file has {len(LONGER)} bytes, {len(CONTENT)} were"),
    "shorter": ((whole(CONTENT[:-4]),), {}, f"has {len(CONTENT) - 4} bytes, {len(CONTENT)} were"),
    "over the limit": ((whole(),), {"exact": False, "size": 99}, "at most 99 were expected"),
    "endless": ((endless,), {}, "more than"),
    "reset": ((reset,), {}, "no whole answer from 127.0.0.1"),
    "no http": ((lambda h: h.wfile.write(b"hello\r\n\r\n"),), {}, "no whole answer"),
    "gzip": ((whole(Content_Encoding="gzip"),), {}, "encoding not asked for"),
    "to http": ((to("http://example.org/x"),), {}, "only https"),
    "to a file": ((to("file:///etc/passwd"),), {}, "something that is not https"),
    "to nowhere": ((lambda h: h.head(302, 0),), {}, "redirected in circles"),
    "to no name": ((to("https://no..no/"),), {}, "no whole answer"),
    "no number": ((lambda h: h.head(200, None, Content_Length="9" * 4999),), {}, "broke off"),
    "no length": (
        (lambda h: (h.head(200, None, Transfer_Encoding="chunked"), h.wfile.write(b"-5\r\na")),),
        {}, "no whole answer",
    ),
    "not a zip": ((whole(),), {"member": "a.pth"}, "not a zip archive"),
    "not a model": (
        (whole(b"plain text"),),
        {"exact": False, "digest": "sha256:" + hashlib.sha256(b"plain text").hexdigest()},
        "not a complete ONNX",
    ),
}  # fmt: skip


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("case", REFUSED)
def test_bad_answers_are_refused(folder: Path, case: str, before: bool) -> None:
    plan, changes, reason = REFUSED[case]
    if before:  # weights that are there, under a name of their own
        with serving(whole()) as server:
            pull.pull(replace(entry(server.url), name="detector-yolox-nano"))
    there = held(folder)
    with serving(*plan) as server:
        with pytest.raises(ModelError, match=reason) as caught:
            pull.pull(entry(server.url, **changes))
        assert len(one_line(caught.value)) < 300
        assert len(server.seen) <= 1
    assert held(folder) == there


def test_redirect_loops_end(folder: Path) -> None:
    with serving(status(404)) as server:
        server.plan[:] = [to(server.url)]
        with pytest.raises(ModelError, match="redirected in circles") as caught:
            pull.pull(entry(server.url))
        one_line(caught.value)
        assert len(server.seen) <= download.REDIRECTS + 1
        count = iter(range(99))
        server.plan[:] = [lambda h: to(f"{server.url}?{next(count)}")(h)]
        server.seen.clear()
        with pytest.raises(ModelError, match="redirected in circles"):
            pull.pull(entry(server.url))
        assert len(server.seen) == download.REDIRECTS + 1
    assert held(folder) == {}


def test_silence_ends_after_the_timeout(folder: Path) -> None:
    with serving(stall) as server:
        begun = time.monotonic()
        with pytest.raises(ModelError, match="timed out") as caught:
            pull.pull(entry(server.url), timeout=0.3)
        assert time.monotonic() - begun < 5
        one_line(caught.value)
    assert held(folder) == {}


def test_nobody_listens(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/x"
    with pytest.raises(ModelError, match="(?i)refused") as caught:
        pull.pull(entry(url))
    one_line(caught.value)
    with pytest.raises(ModelError, match="no whole answer from nothing.invalid"):
        pull.pull(entry("https://nothing.invalid/x"))
    assert held(folder) == {}


@pytest.mark.parametrize(
    "url", ["http://example.org/x", "ftp://127.0.0.1/x", "file:///etc/passwd", "https:///x", "x"]
)
def test_only_https(folder: Path, url: str) -> None:
    with pytest.raises(ModelError, match="only https"):
        pull.pull(entry(url))
    assert held(folder) == {}


def test_a_server_that_does_not_speak_tls_is_not_trusted(folder: Path) -> None:
    with serving(whole()) as server:
        with pytest.raises(ModelError, match="no safe connection") as caught:
            pull.pull(entry(server.url.replace("http:", "https:")))
        one_line(caught.value)
        assert server.seen == []
    assert held(folder) == {}


def test_https_is_not_left() -> None:
    from urllib.request import Request

    with pytest.raises(ModelError, match="not https"):
        download._Redirects().redirect_request(
            Request("https://example.org/"), io.BytesIO(), 302, "", {}, "http://127.0.0.1/x"
        )


def test_every_address_is_https_and_pinned_by_a_hash() -> None:
    for published in PUBLISHED.values():
        download.check_address(published.url)
        assert published.url.startswith("https://")
        kind, _, digits = published.digest.partition(":")
        int(digits, 16)
        full = {"sha256": 64, "sha1": 40}[kind]
        # Only torchvision publishes a beginning, in the file's name.
        assert len(digits) == (8 if published.importer == "torchvision" else full)
        assert 1e6 < published.size < 1e8 and 0 < published.accuracy < 1


# --- the disk -----------------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk(folder: Path) -> None:
    folder.mkdir()
    (folder / f"{NAME}.part").symlink_to("/dev/full")
    with serving(whole()) as server:
        with pytest.raises(ModelError, match="cannot be written: No space left") as caught:
            pull.pull(entry(server.url))
    one_line(caught.value)
    assert held(folder) == {}


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "file" / "cache"))
    with serving(whole()) as server:
        with pytest.raises(ModelError, match="cannot be written.*POSESTREAM_CACHE names") as caught:
            pull.pull(entry(server.url))
        one_line(caught.value)
        assert server.seen == []


def test_a_read_only_cache(folder: Path) -> None:
    folder.mkdir(mode=0o555)
    if os.access(folder, os.W_OK):
        pytest.skip("this user may write everywhere")
    with serving(whole()) as server:
        with pytest.raises(ModelError, match="cannot be written: Permission denied"):
            pull.pull(entry(server.url))
        assert server.seen == []
    assert held(folder) == {}


def test_two_pulls_at_once(folder: Path) -> None:
    with serving(whole()) as server:
        with cache.locked(folder):
            with pytest.raises(ModelError, match="another engines pull is at work") as caught:
                pull.pull(entry(server.url))
            one_line(caught.value)
        assert server.seen == []
        assert pull.pull(entry(server.url))[1]


# --- zip archives -------------------------------------------------------------------------------


def zipped(name: str = "net.pth", data: bytes = CONTENT) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return out.getvalue()


def archived(monkeypatch: pytest.MonkeyPatch, data: bytes, **changes: object) -> Published:
    """An entry whose download is a zip archive, and an importer that copies what is inside."""

    def copy(entry: Published, source: Path, target: Path) -> str:
        target.write_bytes(source.read_bytes())
        return ".onnx"

    monkeypatch.setitem(importers.IMPORTERS, "copy", copy)
    known = entry("", size=len(data), importer="copy", member="net.pth")
    return replace(known, **changes)


def test_the_hash_is_that_of_the_file_inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = zipped()
    with serving(whole(data)) as server:
        wanted = replace(archived(monkeypatch, data), url=server.url)
        path, _ = pull.pull(wanted)
        assert path.read_bytes() == CONTENT
        assert pull.pull(wanted) == (path, False)
    assert set(held(folder)) == {f"{NAME}.onnx", f"{NAME}.json"}
    path.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(ModelError, match="changed since"):
        cache.open_cached(wanted)


@pytest.mark.parametrize(
    "data, changes, reason",
    [
        (zipped("other.pth"), {}, "holds no net.pth"),
        (zipped()[:-40], {}, "not a zip archive, or a damaged one"),
        (zipped()[:50] + bytes(512) + zipped()[562:], {}, "not a zip archive, or a damaged one"),
        (zipped(data=b"x" * 10**6), {}, "too large"),
        (zipped(data=CONTENT[:-1] + b"?"), {}, "not the published file"),
        (zipped().replace(CONTENT[:0] or b"PK\x01\x02", b"PK\x01\x03"), {}, "damaged"),
    ],
)
def test_bad_archives_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, changes: dict, reason: str
) -> None:
    with serving(whole(data)) as server:
        wanted = replace(archived(monkeypatch, data, **changes), url=server.url)
        with pytest.raises(ModelError, match=reason) as caught:
            pull.pull(wanted)
    one_line(caught.value)
    assert held(folder) == {}


def test_an_import_that_fails_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(entry: Published, source: Path, target: Path) -> str:
        target.write_bytes(b"half")
        raise ModelError("the download holds another network")

    monkeypatch.setitem(importers.IMPORTERS, "fail", fail)
    with serving(whole()) as server:
        with pytest.raises(ModelError, match="another network"):
            pull.pull(entry(server.url, importer="fail"))
    assert held(folder) == {}


def test_missing_packages_are_told_before_the_download(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(importers.NEEDED, "torchvision", ("torch", "no_such_package"))
    with serving(whole()) as server:
        with pytest.raises(ModelError, match=r"no_such_package .*posestream\[train\]") as caught:
            pull.pull(entry(server.url, importer="torchvision"))
        one_line(caught.value)
        assert server.seen == []


# --- the command --------------------------------------------------------------------------------


def test_the_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with serving(whole()) as server:
        monkeypatch.setitem(PUBLISHED, NAME, entry(server.url))
        assert main(["pull", NAME]) == 0
        printed = capsys.readouterr()
        assert f"use it with --pose {NAME}" in printed.out and printed.err == ""
        assert main(["pull", NAME, NAME]) == 0
        assert "was there already" in capsys.readouterr().out
        assert main(["list"]) == 0
        assert f"{NAME}  pose  fetched" in capsys.readouterr().out
        server.plan[:] = [status(404)]
        monkeypatch.setitem(PUBLISHED, "other", replace(entry(server.url), name="other"))
        assert main(["pull", "other"]) == 5
        printed = capsys.readouterr()
        assert len(printed.err.splitlines()) == 1 and "404" in printed.err


@pytest.mark.parametrize(
    "name, said", [("detector-nanodat", "did you mean detector-nanodet?"), ("zzz", "list names")]
)
def test_unknown_names(folder: Path, name: str, said: str, capsys) -> None:
    assert main(["pull", NAME, name]) == 5
    assert said in capsys.readouterr().err
    assert not folder.exists()


def test_ctrl_c(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def interrupt(handler: Handler) -> None:
        handler.head(200, len(CONTENT), ETag='"a"')
        handler.wfile.write(CONTENT[:1000])
        handler.wfile.flush()
        handler.server.gone.wait(20)

    def stop(there: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with serving(interrupt) as server:
        monkeypatch.setitem(PUBLISHED, NAME, entry(server.url))
        monkeypatch.setattr(pull.Bar, "__call__", lambda self, there, total: stop(there, total))
        monkeypatch.setattr(download, "CHUNK", 500)
        assert main(["pull", NAME]) == 130
    assert capsys.readouterr().err == "posestream-engines: stopped\n"
    assert len((folder / f"{NAME}.part").read_bytes()) == 500
