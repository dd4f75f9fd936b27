"""Put pages into the one comment of a pull or merge request that is theirs: `python3 tools/ci/pr_comment.py FOLDER`.

The comment is written by the first run and rewritten by later ones. Which request of which forge is what GitHub's and
GitLab's runners have in their environment; for GitHub NUMBER, the request's, and GITHUB_TOKEN besides, for GitLab
COMMENT_TOKEN. Runs with the system's Python and its standard library alone.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MARKER = "<!-- previews of stacks -->"
"""Begins the comment; nobody sees it."""
LONGEST = 60_000
"""Characters; GitHub takes a few more."""
CUT = "\n\n*Cut here. The job's own page has all of it.*"


class CommentError(Exception):
    """The forge did not take it; the message is what it said."""


@dataclass(frozen=True)
class Request:
    """A pull or merge request: where its comments are, and how one of them is changed."""

    comments: str
    one: str
    """Address of one comment, before its number."""
    change: str
    """The HTTP method that changes it."""
    headers: Mapping[str, str]


def request_of(environ: Mapping[str, str]) -> Request:
    """The request that this job is for."""
    if iid := environ.get("CI_MERGE_REQUEST_IID"):
        notes = f"{environ['CI_API_V4_URL']}/projects/{environ['CI_PROJECT_ID']}/merge_requests/{iid}/notes"
        return Request(notes, notes, "PUT", {"PRIVATE-TOKEN": environ["COMMENT_TOKEN"]})
    issues = f"{environ['GITHUB_API_URL']}/repos/{environ['GITHUB_REPOSITORY']}/issues"
    authorization = {"Authorization": f"Bearer {environ['GITHUB_TOKEN']}"}
    return Request(f"{issues}/{environ['NUMBER']}/comments", f"{issues}/comments", "PATCH", authorization)


def comment(request: Request, pages: list[str]) -> None:
    """Write the pages, or that there are none any more; that only where there were some before.

    Raises:
        CommentError: the forge refuses.
    """
    own = _own(request)
    body = "\n\n".join([MARKER, *pages] if pages else [MARKER, "No stack is touched any more."])
    text = {"body": body if len(body) <= LONGEST else body[: LONGEST - len(CUT)] + CUT}
    if own is not None:
        _call(request, request.change, f"{request.one}/{own}", text)
    elif pages:
        _call(request, "POST", request.comments, text)


def _own(request: Request) -> int | None:
    """The number of the comment that an earlier run wrote."""
    page = 1
    while found := _call(request, "GET", f"{request.comments}?per_page=100&page={page}"):
        for each in found:
            if str(each["body"]).startswith(MARKER):
                return int(each["id"])
        page += 1
    return None


def _call(request: Request, method: str, url: str, content: Any = None) -> Any:
    call = urllib.request.Request(
        url,
        method=method,
        data=json.dumps(content).encode() if content else None,
        headers={"Content-Type": "application/json", **request.headers},
    )
    try:
        with urllib.request.urlopen(call, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")[:500]
        raise CommentError(f"{method} {url} was answered {error.code}: {said}") from None
    except OSError as error:
        raise CommentError(f"{method} {url} failed: {error}") from None


def main() -> int:
    folder = Path(sys.argv[1])
    try:
        comment(request_of(os.environ), [page.read_text().strip() for page in sorted(folder.glob("*.md"))])
    except CommentError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
