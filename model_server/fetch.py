"""Fetch the pinned model into the cache and exit: `python -m model_server.fetch`, with the variables of `settings`.

A pod runs this first, so that its server needs neither access to the registry nor a password. The server then reads
the folder `<cache>/<model>/<version>`. The exit code is 2 for invalid settings, 1 if the model is refused or missing.
"""

from __future__ import annotations

import os
import sys
import time

from model_server.errors import ModelRefused, RepositoryError
from model_server.redaction import redact
from model_server.repository import MlflowRepository
from model_server.settings import ServerSettings, ServerSettingsError

ATTEMPTS = 12
"""Attempts in one minute of the default MODEL_SERVER_POLL_SECONDS: a pod of a registry may move to another node."""


def main() -> int:
    """Fetch the model and return the exit code."""
    try:
        settings = ServerSettings.from_environment(os.environ)
        if settings.version is None or settings.directory:
            raise ServerSettingsError("MODEL_SERVER_VERSION is needed, without MODEL_SERVER_DIRECTORY")
    except ServerSettingsError as error:
        return _fail(2, str(error))
    repository = MlflowRepository(settings)
    for attempt in range(ATTEMPTS):
        try:
            package = repository.fetch(repository.find())
        except ModelRefused as error:
            return _fail(1, f"version {settings.version} is refused: {error} {error.detail}")
        except RepositoryError as error:
            _fail(1, f"{error} {error.detail}")
        except OSError as error:
            _fail(1, str(error))
        else:
            print(f"version {package.version} of {settings.model}, SHA-256 {package.signature.sha256}")
            return 0
        if attempt < ATTEMPTS - 1:
            time.sleep(settings.poll_seconds)
    return _fail(1, f"version {settings.version} cannot be fetched from {settings.registry}")


def _fail(code: int, message: str) -> int:
    print(f"model_server.fetch: {redact(message)}", file=sys.stderr, flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
