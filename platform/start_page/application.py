"""Server of the start page: `python -m uvicorn mlplatform.start_page.application:application`.

The file that START_PAGE_SETTINGS names has the addresses; DOOR_KEY is the key with which the door proves itself.
"""

from __future__ import annotations

import hmac
import json
import os
from pathlib import Path

import jinja2
from mlplatform.start_page.audit_page import found_entries
from mlplatform.start_page.overview import Caller, Overview, Settings
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
_ENVIRONMENT = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
TEMPLATES = {
    name: _ENVIRONMENT.from_string(Path(__file__).with_name(name).read_text()) for name in ("start.html", "audit.html")
}
PAGE_HEADERS = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store"}


async def start(request: Request) -> Response:
    """Return the page for the caller that the door names; refuse every other request."""
    if (refused := _refused(request)) is not None:
        return refused
    settings, headers = _settings(), request.headers
    caller = Caller(
        headers["X-Door-User"], headers["X-Door-Role"], headers["X-Door-Key"], headers.get("X-Door-Teams", "")
    )
    overview = await run_in_threadpool(Overview.of, settings, caller)
    rights = _rights(caller)
    page = TEMPLATES["start.html"].render(caller=caller, rights=rights, overview=overview, settings=settings)
    return HTMLResponse(page, headers=PAGE_HEADERS)


def _rights(caller: Caller) -> str:
    """Return what the person may see and change, as sentences."""
    if not caller.teams or caller.role == "administrator":
        return RIGHTS[caller.role]
    teams = ", ".join(caller.team_names) or "none"
    change = "change both" if caller.role == "editor" and not caller.team_names else OWN_CHANGES[caller.role]
    return f"Your teams: {teams}. You may see what they own and what is shared, and {change}."


async def entries_page(request: Request) -> Response:
    """Return the page with entries of the audit log for an administrator; refuse every other request."""
    if (refused := _refused(request)) is not None:
        return refused
    headers, settings = request.headers, _settings()
    if headers["X-Door-Role"] != "administrator":
        return PlainTextResponse("only an administrator may read the audit log", 403)
    wanted = {name: request.query_params.get(name, "") for name in ("user", "since", "contains")}
    found = await run_in_threadpool(found_entries, settings["audit"], headers["X-Door-Key"], wanted)
    page = TEMPLATES["audit.html"].render(wanted=wanted, found=found)
    return HTMLResponse(page, 200 if found.fault is None else 400, headers=PAGE_HEADERS)


def _refused(request: Request) -> Response | None:
    """Return the answer to a request that does not come from the door, else None."""
    if hmac.compare_digest(request.headers.get("X-Door-Key", ""), os.environ["DOOR_KEY"]):
        return None
    return PlainTextResponse("only the door may request this page", 403)


def _settings() -> Settings:
    settings: Settings = json.loads(Path(os.environ["START_PAGE_SETTINGS"]).read_text())
    return settings


async def health(_request: Request) -> Response:
    """Return 200: the server runs."""
    return PlainTextResponse("ok")


application = Starlette(routes=[Route("/", start), Route("/audit", entries_page), Route("/health", health)])
