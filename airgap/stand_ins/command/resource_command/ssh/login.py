"""Logins: credentials and limits, parsed from the inputs `connection` and `connection.proxy`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import paramiko

from airgap.stand_ins.command.resource_command.errors import HostUnreachable
from airgap.stand_ins.command.resource_command.ssh.keys import host_key, private_key


@dataclass(frozen=True, repr=False)  # no secret in a traceback
class Login:
    """The host, the user, the credentials and the limits of a login."""

    host: str
    port: int
    user: str
    host_key: paramiko.PKey | None
    private_key: paramiko.PKey | None
    password: str | None
    agent: str
    """Path of the socket of an SSH agent, or empty."""
    limit: int
    """Number of retries; negative for no limit."""
    timeout: float | None
    """Seconds for each step of an attempt: connect, key exchange, authentication; None for no limit."""

    @property
    def address(self) -> str:
        """The host and port, with brackets around an IPv6 address."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_login(inputs: Mapping[str, Any]) -> Login:
    """Parse a connection's inputs.

    Raises:
        OperationFailed: a key cannot be read.
    """
    key, expected = inputs.get("privateKey"), inputs.get("hostKey")
    return Login(
        host=inputs["host"],
        port=int(inputs.get("port", 22)),
        user=inputs.get("user", "root"),
        host_key=None if expected is None else host_key(expected),
        private_key=None if key is None else private_key(key, inputs.get("privateKeyPassword")),
        password=inputs.get("password"),
        agent=inputs.get("agentSocketPath", os.environ.get("SSH_AUTH_SOCK", "")),
        limit=int(inputs.get("dialErrorLimit", 10)),
        timeout=inputs.get("perDialTimeout", 15) or None,
    )


def authenticate(transport: paramiko.Transport, login: Login, agent_keys: tuple[paramiko.PKey, ...]) -> None:
    """Log in with the methods that the server allows, one after the other.

    Raises:
        HostUnreachable: the server accepts none of them.
    """
    try:
        allowed = transport.auth_none(login.user)
    except paramiko.BadAuthenticationType as error:
        allowed = error.allowed_types
    attempted = ["none"]
    for name, method in _methods(transport, login, agent_keys):
        if transport.is_authenticated() or not transport.is_active():
            break
        if name in allowed:
            attempted.append(name)
            try:
                allowed = method()
            except paramiko.AuthenticationException:
                continue
    if not transport.is_authenticated():
        raise HostUnreachable(
            f"{login.address}: unable to authenticate as {login.user}, attempted methods [{' '.join(attempted)}]"
        )


def _methods(
    transport: paramiko.Transport, login: Login, agent_keys: tuple[paramiko.PKey, ...]
) -> Iterator[tuple[str, Callable[[], list[str]]]]:
    if (key := login.private_key) is not None:
        yield "publickey", partial(transport.auth_publickey, login.user, key)
    if (password := login.password) is not None:
        yield "password", partial(transport.auth_password, login.user, password, fallback=False)

        def answer(title: str, instructions: str, prompts: list[tuple[str, bool]]) -> list[str]:
            return [password for _ in prompts]

        yield "keyboard-interactive", partial(transport.auth_interactive, login.user, answer)
    for agent_key in agent_keys:
        yield "publickey", partial(transport.auth_publickey, login.user, agent_key)
