"""One file over HTTPS: bounded, resumable, and nothing but a file.

This is the only module of the package that asks the internet for anything on its own account, and
only ``engines pull`` calls it.
"""

from __future__ import annotations

import http.client
import ipaddress
import json
import ssl
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from functools import cache
from http.client import HTTPResponse
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from engines.cache import unwritable
from realtime.errors import ModelError
from realtime.version import VERSION

CHUNK = 1 << 16
REDIRECTS = 5
RETRIES = 3
"""Times in a row that a cut connection is taken up again while each brings something."""
PAUSE = 0.5
"""Seconds before that."""

BROKEN = OSError, http.client.HTTPException, ValueError
"""What connections raise; the last one for addresses and lengths that a server gives and are
none."""

Tell = Callable[[int, int | None], None]
"""Called with the bytes that are there and those that will be, None where not known."""


class Cut(Exception):
    """The connection broke off; what came is kept."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to fetch. size: bytes, exactly or at most."""

    name: str
    url: str
    size: int
    exact: bool


def fetch(wanted: Wanted, part: Path, tell: Tell, timeout: float = 30.0) -> None:
    """Download into part, going on with what is there from an interrupted download of the same
    file. timeout: seconds of silence from the server.

    Raises ModelError. Then part is gone, unless the connection broke off: then part and a note
    beside it stay for the next time, if the server can resume.
    """
    check_address(wanted.url)
    failures = 0
    while True:
        before = _length(part)
        try:
            _attempt(wanted, part, tell, timeout)
            _note(part).unlink(missing_ok=True)
            return
        except Cut as cut:
            there = _length(part)
            resumable = _note(part).exists()
            failures = failures + 1 if resumable and there > before else RETRIES
            if failures >= RETRIES:
                _give_up(wanted, part, resumable, cut)
            time.sleep(PAUSE)
        except ModelError:
            discard(part)
            raise


def _give_up(wanted: Wanted, part: Path, resumable: bool, cut: Cut) -> None:
    kept = ""
    if resumable:
        kept = f"; {_length(part) / 1e6:.1f} MB are kept, the same command goes on from there"
    else:
        discard(part)
    host = urlsplit(wanted.url).hostname
    raise ModelError(f"{wanted.name}: no whole answer from {host} ({cut}){kept}") from cut


def _attempt(wanted: Wanted, part: Path, tell: Tell, timeout: float) -> None:
    """One connection. Raises Cut or ModelError."""
    start, validator = _resumable(wanted, part)
    headers = {"User-Agent": f"posestream/{VERSION}", "Accept-Encoding": "identity"}
    if start:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    request = urllib.request.Request(wanted.url, headers=headers)
    try:
        answer: HTTPResponse = _opener(wanted.url).open(request, timeout=timeout)
    except HTTPError as error:
        with error:
            _refused(wanted, part, error)
    except (*BROKEN, URLError) as error:
        raise _unreachable(wanted, error) from error
    with answer:
        start = _check_answer(wanted, answer, start)
        _remember(wanted, part, answer.headers)
        _receive(wanted, answer, part, start, tell)


def _refused(wanted: Wanted, part: Path, error: HTTPError) -> None:
    """Raise for an answer that is no success."""
    if error.code == 416:  # what is there is not the beginning of what the server has now
        discard(part)
        raise Cut("the server cannot go on with what is there") from error
    if 300 <= error.code < 400:
        where = "redirected in circles or to something that is not https"
        raise ModelError(f"{wanted.name}: {wanted.url} is {where}") from error
    if error.code in (408, 429) or error.code >= 500:
        raise Cut(f"{error.code} {error.reason}") from error
    raise ModelError(
        f"{wanted.name}: {urlsplit(error.url or wanted.url).hostname} answers {error.code} "
        f"{error.reason} for {wanted.url}"
    ) from error


def _unreachable(wanted: Wanted, error: Exception) -> Exception:
    """What to raise when there is no answer."""
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, ssl.SSLError):
        return ModelError(f"{wanted.name}: no safe connection to {wanted.url}: {reason.reason}")
    text = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return Cut(" ".join(text.split()))


def _check_answer(wanted: Wanted, answer: HTTPResponse, start: int) -> int:
    """Where in the file the answer begins. Raises ModelError for one that cannot be the file."""
    if answer.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise ModelError(
            f"{wanted.name}: {urlsplit(answer.url).hostname} sends a web page instead of the file "
            "(a sign-in page or a proxy?)"
        )
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise ModelError(f"{wanted.name}: the server sends the file in an encoding not asked for")
    if answer.status != 206:
        start = 0
    elif not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        raise ModelError(f"{wanted.name}: the server sends another part of the file than asked for")
    if (total := _total(answer, start)) is not None:
        _check_size(wanted, total)
    return start


def _total(answer: HTTPResponse, start: int) -> int | None:
    """Bytes of the whole file by the answer's headers."""
    length = answer.headers.get("Content-Length", "")
    return start + int(length) if length.isdecimal() and len(length) < 20 else None


def _check_size(wanted: Wanted, total: int) -> None:
    if total > wanted.size or (wanted.exact and total != wanted.size):
        most = "" if wanted.exact else "at most "
        raise ModelError(
            f"{wanted.name}: the server's file has {total} bytes, {most}{wanted.size} were expected"
        )


def _receive(wanted: Wanted, answer: HTTPResponse, part: Path, start: int, tell: Tell) -> None:
    """Write the answer's body at start. Raises Cut or ModelError."""
    total, there = _total(answer, start), start
    try:
        out = part.open("r+b" if start else "wb")
    except OSError as error:
        raise unwritable(part.parent, error) from error
    try:
        with out:
            out.seek(start)
            while data := _read(answer):
                there += len(data)
                if there > wanted.size:
                    raise ModelError(f"{wanted.name}: more than {wanted.size} bytes came")
                out.write(data)
                tell(there, total)
    except OSError as error:  # of writing: _read has its own
        raise unwritable(part.parent, error) from error
    if there < (wanted.size if wanted.exact else total or 0):
        raise Cut("the connection broke off")


def _read(answer: IO[bytes]) -> bytes:
    try:
        return answer.read(CHUNK)
    except BROKEN as error:
        raise Cut(str(error) or type(error).__name__) from error


# --- what is there from an interrupted download -------------------------------------------------


def _note(part: Path) -> Path:
    return part.with_suffix(".resume")


def _length(part: Path) -> int:
    try:
        return part.stat().st_size
    except OSError:
        return 0


def _remember(wanted: Wanted, part: Path, headers: Message) -> None:
    """Note what tells later whether the server still has the same file; without such a thing
    nothing is resumed. A weak ETag does not say that the bytes are the same (RFC 9110, 13.1.5)."""
    tag = headers.get("ETag", "")
    validator = tag if tag and not tag.startswith("W/") else headers.get("Last-Modified", "")
    try:
        if validator:
            _note(part).write_text(json.dumps([wanted.url, validator]), encoding="utf-8")
        else:
            _note(part).unlink(missing_ok=True)
    except OSError as error:
        raise unwritable(part.parent, error) from error


def _resumable(wanted: Wanted, part: Path) -> tuple[int, str]:
    """The bytes that are there, and the validator to send; 0 when there is nothing to go on
    with."""
    start = _length(part)
    try:
        url, validator = json.loads(_note(part).read_bytes())
    except (OSError, ValueError, TypeError):
        return 0, ""
    usable = url == wanted.url and isinstance(validator, str) and 0 < start < wanted.size
    return (start, validator) if usable else (0, "")


def discard(part: Path) -> None:
    """Forget a download."""
    for path in (part, _note(part)):
        try:
            path.unlink(missing_ok=True)
        except OSError:  # the folder cannot be written: so nothing of it was
            return


# --- addresses ------------------------------------------------------------------------------------


def check_address(url: str) -> None:
    """Raise ModelError unless url is https; http only to this machine itself."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if not (parts.scheme == "http" and _is_loopback(parts.hostname or "")):
        raise ModelError(f"{url}: only https addresses are fetched")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a few redirects, and never from https to anything else."""

    max_redirections = REDIRECTS
    max_repeats = 1

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        try:
            check_address(newurl)
            if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
                raise ModelError(f"{req.full_url}: redirected to {newurl}, which is not https")
        except ModelError:
            fp.close()
            raise
        return super().redirect_request(req, fp, code, msg, headers, newurl)


@cache
def _trust() -> ssl.SSLContext:
    """The certificates of the system; reading them takes a while."""
    return ssl.create_default_context()


def _opener(url: str) -> urllib.request.OpenerDirector:
    """Speaks http and https only; through the proxies of the environment, but not to itself."""
    opener = urllib.request.OpenerDirector()
    proxies: dict[str, str] | None = {} if _is_loopback(urlsplit(url).hostname or "") else None
    for handler in (
        urllib.request.ProxyHandler(proxies),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=_trust()),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
    ):
        opener.add_handler(handler)
    return opener
