"""An OpenID Connect provider with HTTPS: `python -m tests.door.provider PORT CERTIFICATE KEY`."""

from __future__ import annotations

import sys

from oidc_provider_mock import User, app

PERSONS = {
    "ada": {"email": "ada@example.com", "email_verified": True, "groups": ["staff", "ml-admins"]},
    "eve": {"email": "eve@example.com", "email_verified": True, "groups": ["ml-editors"]},
    "fay": {"email": "fay@example.com", "email_verified": True, "groups": ["ml-flora", "ml-editors"]},
    "amy": {"email": "Amy.Miller@Example.com", "email_verified": True, "groups": ["ml-editors"]},
    "kai": {"email": "\u212aai@example.com", "email_verified": True, "groups": ["ml-editors"]},
    "uma": {"email": "uma@example.com", "email_verified": True, "groups": ["visitors"]},
    "max": {"email": "max@example.com", "email_verified": True, "groups": ["guests,ml-admins"]},
    "una": {"email": "una@example.com", "email_verified": False, "groups": ["ml-admins"]},
    "pat": {"email": "writer", "email_verified": True, "groups": ["ml-admins"]},
}
"""Claims by subject."""


def main() -> None:
    """Serve until the process is killed."""
    port, certificate, key = sys.argv[1:]
    users = [User(sub=name, claims=claims) for name, claims in PERSONS.items()]
    app(user_claims=users).run(host="127.0.0.1", port=int(port), ssl_context=(certificate, key))


if __name__ == "__main__":
    main()
