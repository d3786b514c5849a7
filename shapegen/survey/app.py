"""The web application that readers use. It knows no truth: `truth.json` is never opened here."""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from shapegen.errors import MissingLibraryError
from shapegen.survey.answers import Answers
from shapegen.survey.incoming import parse_answers
from shapegen.survey.study import Reader, Study

if TYPE_CHECKING:
    from flask import Flask, Response

LOCAL = ("127.0.0.1", "localhost")
PAGES = {
    "": ("shapegen.survey", "survey.html", "text/html; charset=utf-8"),
    "survey.css": ("shapegen.survey", "survey.css", "text/css; charset=utf-8"),
    "survey.js": ("shapegen.survey", "survey.js", "text/javascript; charset=utf-8"),
    "outbox.js": ("shapegen.survey", "outbox.js", "text/javascript; charset=utf-8"),
    "shape.js": ("shapegen.survey", "shape.js", "text/javascript; charset=utf-8"),
    "viewer.js": ("shapegen.curation", "viewer.js", "text/javascript; charset=utf-8"),
}
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
LARGEST = 1 << 20
"""Bytes of a request."""
CSRF = "X-CSRF-Token"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How often one may ask, in the notation of the package `limits`.

    Args:
        reader: with one link; a page that is told to wait does so and loses nothing.
        stranger: from one address, without a valid link.
    """

    reader: str = "30 per second; 900 per minute"
    stranger: str = "30 per minute"


def create_app(
    study: Study, answers: Answers, *, hosts: Sequence[str] | None = LOCAL, limits: Limits | None = None
) -> Flask:
    """Return the application.

    Every path begins with a reader's token; whoever does not have it finds nothing. Answers are on the disk before
    they are acknowledged.

    Args:
        answers: open for writing.
        hosts: names in a request's `Host` that are served, which keeps other sites from reaching a local server by a
            name of theirs; None for any.
        limits: see there.

    Raises:
        MissingLibraryError: the extra `shapegen[survey]` is not installed.
    """
    try:
        from flask import Blueprint, Flask, abort, jsonify, request
        from flask_limiter import Limiter
        from flask_limiter.util import get_remote_address
    except ImportError as error:
        raise missing_library(error) from error

    limits = limits or Limits()
    readers = {reader.token: reader for reader in study.readers}
    app = Flask("shapegen.survey", static_folder=None, template_folder=None)
    app.config.update(MAX_CONTENT_LENGTH=LARGEST, TRUSTED_HOSTS=list(hosts) if hosts is not None else None)
    pages = Blueprint("reader", __name__, url_prefix="/r/<token>")

    def token() -> str:
        return str((request.view_args or {}).get("token", ""))

    def reader() -> Reader:
        return readers.get(token()) or abort(HTTPStatus.NOT_FOUND)

    @pages.get("/", defaults={"name": ""})
    @pages.get("/<name>")
    def page(token: str, name: str) -> Response:
        reader()
        if name not in PAGES:
            abort(HTTPStatus.NOT_FOUND)
        package, file, kind = PAGES[name]
        return app.response_class((files(package) / "page" / file).read_bytes(), content_type=kind)

    @pages.get("/state.json")
    def state(token: str) -> Response:
        return jsonify(_state(study, reader(), answers))

    @pages.get("/items/<item>")
    def mesh(token: str, item: str) -> Response:
        shown = {showing.id: showing for showing in reader().showings}
        if item not in shown:
            abort(HTTPStatus.NOT_FOUND)
        # Bytes, not a file: that would bring its time and its size as a tag along.
        return app.response_class(study.mesh(shown[item]).read_bytes(), content_type="application/octet-stream")

    @pages.post("/answers")
    def answer(token: str) -> Response | tuple[Response, int]:
        who = reader()
        if not _from_our_page(request.headers, csrf_code(study, who), request.host):
            abort(HTTPStatus.FORBIDDEN)
        if not request.is_json:
            abort(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        try:
            good, refused = parse_answers(request.get_json(), study, who)
        except (ValueError, RecursionError) as error:
            return jsonify(error=str(error)), HTTPStatus.BAD_REQUEST
        try:
            answers.add(who.name, good)
        except sqlite3.Error as error:
            app.logger.error("answers of %s not saved, its page will try again: %s", who.name, error)
            return jsonify(error="not saved"), HTTPStatus.SERVICE_UNAVAILABLE
        return jsonify(saved=[each.answer for each in good], refused=refused)

    limiter = Limiter(get_remote_address, app=app, storage_uri="memory://")
    limiter.limit(limits.reader, key_func=token, exempt_when=lambda: token() not in readers)(pages)
    limiter.limit(limits.stranger, exempt_when=lambda: token() in readers)(pages)
    app.register_blueprint(pages)

    @app.after_request
    def secured(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response

    return app


def csrf_code(study: Study, reader: Reader) -> str:
    """Return what a reader's page must send with answers; the same after a restart, so that waiting ones still come."""
    return hmac.new(study.secret.encode(), reader.token.encode(), hashlib.sha256).hexdigest()


def missing_library(error: ImportError) -> MissingLibraryError:
    """Return the error that says what to install."""
    return MissingLibraryError(error.name or "flask", "pip install 'shapegen[survey]'", error, ("reader studies",))


def _from_our_page(headers: Any, code: str, host: str) -> bool:
    origin = headers.get("Origin")
    ours = origin is None or origin.partition("://")[2] == host
    return ours and hmac.compare_digest(headers.get(CSRF, "").encode(), code.encode())


def _state(study: Study, reader: Reader, answers: Answers) -> dict[str, Any]:
    given = answers.latest(reader.name)
    return {
        "organ": study.organ,
        "reasons": study.reasons,
        "csrf": csrf_code(study, reader),
        "items": [{"id": showing.id, "practice": showing.practice} for showing in reader.showings],
        "answers": {
            item: {
                "choice": each.choice,
                "confidence": each.confidence,
                "reasons": each.reasons,
                "comment": each.comment,
            }
            for item, each in given.items()
        },
    }
