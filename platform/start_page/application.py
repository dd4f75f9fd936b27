"""Server of the start page: `python -m uvicorn mlplatform.start_page.application:application`.

The file that START_PAGE_SETTINGS names has the addresses; DOOR_KEY is the key with which the door proves itself.
"""

from __future__ import annotations

import hmac
import json
import os
from pathlib import Path

import jinja2
from mlplatform.start_page.overview import Caller, Overview
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

POLICY = (
    "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
RIGHTS = {
    "administrator": "You may see and change everything.",
    "editor": "You may see everything, and change runs and models.",
    "reader": "You may see everything, and change nothing.",
}
"""Rights of a role, by its name."""
TEMPLATE = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
    Path(__file__).with_name("start.html").read_text()
)


async def start(request: Request) -> Response:
    """Return the page for the caller that the door names; refuse every other request."""
    key = request.headers.get("X-Door-Key", "")
    if not hmac.compare_digest(key, os.environ["DOOR_KEY"]):
        return PlainTextResponse("only the door may request this page", 403)
    settings = json.loads(Path(os.environ["START_PAGE_SETTINGS"]).read_text())
    caller = Caller(request.headers["X-Door-User"], request.headers["X-Door-Role"], key)
    overview = await run_in_threadpool(Overview.of, settings, caller)
    page = TEMPLATE.render(caller=caller, rights=RIGHTS[caller.role], overview=overview, settings=settings)
    return HTMLResponse(page, headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-store"})


async def health(_request: Request) -> Response:
    """Return 200: the server runs."""
    return PlainTextResponse("ok")


application = Starlette(routes=[Route("/", start), Route("/health", health)])
