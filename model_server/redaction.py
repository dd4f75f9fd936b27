"""Removal of credentials from texts for the log."""

from __future__ import annotations

import re

USER_OF_URL = re.compile(r"://[^\s/]*@")
SCHEME_AND_TOKEN = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]+", re.IGNORECASE)
NAMED_SECRET = re.compile(
    r"""([\w-]*(?:password|passwd|pwd|secret|token|credential|authorization|signature|api[_-]?key|access[_-]?key)[\w-]*)
    ["']? \s* [=:] \s* ("[^"]*" | '[^']*' | [^\s&,;}"']+)""",
    re.IGNORECASE | re.VERBOSE,
)


def redact(text: str) -> str:
    """Return a text in one line without the user of URLs, authorization headers, and values of secret names."""
    text = USER_OF_URL.sub("://***@", " ".join(text.split()))
    text = SCHEME_AND_TOKEN.sub(r"\1 ***", text)
    return NAMED_SECRET.sub(r"\1=***", text)
