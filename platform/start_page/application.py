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
OWN_CHANGES = {"editor": "change what they own", "reader": "change nothing"}
"""Changes that a role makes in a team, by its name."""
TEMPLATE = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
    Path(__file__).with_name("start.html").read_text()
)


async def start(request: Request) -> Response:
    """Return the page for the caller that the door names; refuse every other request."""
    key = request.headers.get("X-Door-Key", "")
    if not hmac.compare_digest(key, os.environ["DOOR_KEY"]):
        return PlainTextResponse("only the door may request this page", 403)
    settings = json.loads(Path(os.environ["START_PAGE_SETTINGS"]).read_text())
    headers = request.headers
    caller = Caller(headers["X-Door-User"], headers["X-Door-Role"], key, headers.get("X-Door-Teams", ""))
    overview = await run_in_threadpool(Overview.of, settings, caller)
    rights = _rights(caller)
    page = TEMPLATE.render(caller=caller, rights=rights, overview=overview, settings=settings)
    return HTMLResponse(page, headers={"Content-Security-Policy": POLICY, "Cache-Control": "no-store"})


def _rights(caller: Caller) -> str:
    """Return what the person may see and change, as sentences."""
    if not caller.teams or caller.role == "administrator":
        return RIGHTS[caller.role]
    teams = ", ".join(caller.team_names) or "none"
    change = "change both" if caller.role == "editor" and not caller.team_names else OWN_CHANGES[caller.role]
    return f"Your teams: {teams}. You may see what they own and what is shared, and {change}."


async def health(_request: Request) -> Response:
    """Return 200: the server runs."""
    return PlainTextResponse("ok")


application = Starlette(routes=[Route("/", start), Route("/health", health)])
