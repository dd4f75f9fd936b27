"""Write pages to one comment of a pull or merge request: `python3 -m tools.ci.pr_comment FOLDER`.

The first run creates the comment, later runs replace it. The environment of GitHub's and GitLab's runners names the
request. GitHub also needs NUMBER, the number of the request, and GITHUB_TOKEN; GitLab needs COMMENT_TOKEN. The program
needs only the system's Python and its standard library.
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
"""The first line of the comment, which is not displayed."""
MAX_CHARACTERS = 60_000
"""Length of a comment; GitHub's limit is slightly higher."""
TRUNCATED = "\n\n*Truncated here. The job's page has the whole text.*"


class CommentError(Exception):
    """A request that the forge rejected, or that did not reach it."""


@dataclass(frozen=True)
class ReviewRequest:
    """The HTTP interface to the comments of a pull or merge request."""

    comments: str
    """The URL of all comments."""
    comment: str
    """The URL of one comment, before its number."""
    update_method: str
    """The HTTP method that replaces a comment."""
    headers: Mapping[str, str]


def request_of(environ: Mapping[str, str]) -> ReviewRequest:
    """Return the request that this CI job belongs to."""
    if iid := environ.get("CI_MERGE_REQUEST_IID"):
        notes = f"{environ['CI_API_V4_URL']}/projects/{environ['CI_PROJECT_ID']}/merge_requests/{iid}/notes"
        return ReviewRequest(notes, notes, "PUT", {"PRIVATE-TOKEN": environ["COMMENT_TOKEN"]})
    issues = f"{environ['GITHUB_API_URL']}/repos/{environ['GITHUB_REPOSITORY']}/issues"
    authorization = {"Authorization": f"Bearer {environ['GITHUB_TOKEN']}"}
    return ReviewRequest(f"{issues}/{environ['NUMBER']}/comments", f"{issues}/comments", "PATCH", authorization)


def publish(request: ReviewRequest, pages: list[str]) -> None:
    """Create or replace the comment. Without pages, only an existing comment is replaced, by a note.

    Raises:
        CommentError: The forge rejects the request.
    """
    number = _existing(request)
    body = "\n\n".join([MARKER, *pages] if pages else [MARKER, "This change affects no stack any more."])
    if len(body) > MAX_CHARACTERS:
        body = body[: MAX_CHARACTERS - len(TRUNCATED)] + TRUNCATED
    text = {"body": body}
    if number is not None:
        _call(request, request.update_method, f"{request.comment}/{number}", text)
    elif pages:
        _call(request, "POST", request.comments, text)


def _existing(request: ReviewRequest) -> int | None:
    """Return the number of the comment of an earlier run, None without one."""
    page = 1
    while comments := _call(request, "GET", f"{request.comments}?per_page=100&page={page}"):
        for comment in comments:
            if str(comment["body"]).startswith(MARKER):
                return int(comment["id"])
        page += 1
    return None


def _call(request: ReviewRequest, method: str, url: str, content: Any = None) -> Any:
    call = urllib.request.Request(
        url,
        method=method,
        data=json.dumps(content).encode() if content else None,
        headers={"Content-Type": "application/json", **request.headers},
    )
    try:
        with urllib.request.urlopen(call, timeout=30) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        message = error.read().decode(errors="replace")[:500]
        raise CommentError(f"{method} {url} returned {error.code}: {message}") from None
    except OSError as error:
        raise CommentError(f"{method} {url} failed: {error}") from None


def main() -> int:
    """Publish the Markdown files of a folder, sorted by name, and return the exit code."""
    folder = Path(sys.argv[1])
    try:
        publish(request_of(os.environ), [page.read_text().strip() for page in sorted(folder.glob("*.md"))])
    except CommentError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
