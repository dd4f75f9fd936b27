"""Commands on a machine over SSH, for what has to be decided by what the machines answer."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import paramiko

from infra.errors import UserError

DIAL_SECONDS = 10


@dataclass(frozen=True)
class Finished:
    """A command that has ended."""

    code: int
    output: str
    error: str

    def checked(self, what: str) -> str:
        """Its output.

        Raises:
            UserError: it failed; naming `what` it was for.
        """
        if self.code:
            raise UserError(f"{what} failed with code {self.code}: {(self.error or self.output).strip()[-1500:]}")
        return self.output


class Shell:
    """A machine that is connected."""

    def __init__(self, client: paramiko.SSHClient) -> None:
        self._client = client

    def run(self, command: str, stdin: str = "", seconds: float | None = None) -> Finished:
        """Run a command line; what it reads is `stdin`. With `seconds`, one that is silent for longer is an error."""
        into, out, error = self._client.exec_command(command, timeout=seconds)
        into.write(stdin)
        into.channel.shutdown_write()
        # Both at a time: a command waits until what it wrote to either is read.
        with ThreadPoolExecutor(1) as beside:
            errors = beside.submit(error.read)
            output = out.read()
        text = errors.result().decode(errors="replace")
        return Finished(out.channel.recv_exit_status(), output.decode(errors="replace"), text)


@contextmanager
def connected(machine: Mapping[str, Any]) -> Iterator[Shell]:
    """A machine, by `Machine.properties`.

    Raises:
        UserError: it cannot be reached or does not let us in, with the remedy.
    """
    with ExitStack() as stack:
        channel = None
        if bastion := machine.get("bastion"):
            hop = stack.enter_context(_client(bastion | {"name": "the bastion"}, None))
            transport = hop.get_transport()
            assert transport is not None
            try:
                channel = transport.open_channel(
                    "direct-tcpip", (machine["host"], int(machine["port"])), ("127.0.0.1", 0), timeout=DIAL_SECONDS
                )
            except (paramiko.SSHException, OSError) as error:
                raise UserError(_unreached(machine, f"from the bastion: {error}")) from None
        yield Shell(stack.enter_context(_client(machine, channel)))


@contextmanager
def _client(machine: Mapping[str, Any], channel: paramiko.Channel | None) -> Iterator[paramiko.SSHClient]:
    # Numbers come from Pulumi as floating-point ones.
    host, port = machine["host"], int(machine["port"])
    client = paramiko.SSHClient()
    kind, _, encoded = machine["host_key"].partition(" ")
    entry = paramiko.hostkeys.HostKeyEntry.from_line(
        f"{host if port == 22 else f'[{host}]:{port}'} {kind} {encoded.split()[0]}"
    )
    assert entry is not None
    assert entry.key is not None
    client.get_host_keys().add(entry.hostnames[0] if entry.hostnames else host, kind, entry.key)
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    try:
        client.connect(
            host,
            port,
            username=machine["user"],
            pkey=_private_key(machine),
            timeout=DIAL_SECONDS,
            banner_timeout=DIAL_SECONDS,
            auth_timeout=DIAL_SECONDS,
            allow_agent=False,
            look_for_keys=False,
            sock=channel,
        )
    except paramiko.BadHostKeyException as error:
        raise UserError(
            f"{machine['name']} ({host}): its host key is {error.key.get_name()} {error.key.get_base64()}, not the one "
            "of the settings (host_key). If it was set up anew, put its new key there; else another machine answers"
        ) from None
    except paramiko.AuthenticationException:
        raise UserError(
            f"{machine['name']} ({host}): it does not let {machine['user']} in with this key; add the public key "
            f"to ~{machine['user']}/.ssh/authorized_keys there, or set another key or user (infra:hosts)"
        ) from None
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise UserError(_unreached(machine, str(error) or type(error).__name__)) from None
    with client:
        yield client


def _unreached(machine: Mapping[str, Any], why: str) -> str:
    return (
        f"{machine['name']}: no SSH at {machine['host']}:{int(machine['port'])} ({why}): is it on, is the address "
        "right, does a firewall let the port through?"
    )


def _private_key(machine: Mapping[str, Any]) -> paramiko.PKey:
    for kind in (paramiko.Ed25519Key, paramiko.RSAKey, paramiko.ECDSAKey):
        try:
            return kind.from_private_key(io.StringIO(machine["key"]))
        except (paramiko.SSHException, ValueError):
            continue
    raise UserError(
        f"{machine['name']}: the private key is of no kind that is known here (Ed25519, RSA, ECDSA), or encrypted"
    )
