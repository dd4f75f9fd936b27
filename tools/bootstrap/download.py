"""Download of a file whose checksum is pinned."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from typing import IO

from tools.bootstrap.console import Unavailable

READ_TIMEOUT_SECONDS = 10


def download(url: str, sha256: str, file: IO[bytes]) -> None:
    """Write the content of `url` to `file` and rewind the file.

    Args:
        url: an address that urllib opens.
        sha256: the expected digest, in hexadecimal.
        file: a binary file that is open for reading and writing.

    Raises:
        Unavailable: The server cannot be reached, or the content has another digest.
    """
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=READ_TIMEOUT_SECONDS) as response:
            while block := response.read(1 << 20):
                digest.update(block)
                file.write(block)
    except OSError as error:
        raise Unavailable(f"{url}: {_reason(error)}") from None
    if digest.hexdigest() != sha256:
        raise Unavailable(f"{url} has the SHA-256 {digest.hexdigest()} instead of {sha256}")
    file.seek(0)


def _reason(error: OSError) -> str:
    """Return the text of the operating system's error, without urllib's wrapping."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    return getattr(cause, "strerror", None) or str(cause)
