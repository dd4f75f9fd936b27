"""Commands on a machine over SSH, for steps that branch on the machines' responses."""

from __future__ import annotations

import io
import shlex
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import paramiko

from infra.errors import UserError
from infra.machine import DIAL_SECONDS, SshLogin


@dataclass(frozen=True)
class CommandResult:
    """Exit code and output of a finished command."""

    code: int
    output: str
    error: str

    def checked(self, action: str) -> str:
        """Return the output of a successful command.

        Raises:
            UserError: the exit code is not 0; the message begins with `action`.
        """
        if self.code:
            raise UserError(f"{action} failed with code {self.code}: {(self.error or self.output).strip()[-1500:]}")
        return self.output


class Shell:
    """An open SSH connection to a machine."""

    def __init__(self, client: paramiko.SSHClient) -> None:
        self._client = client

    def run(self, command: str, stdin: str = "", seconds: float | None = None) -> CommandResult:
        """Run a command line with `stdin` as its standard input.

        Raises:
            TimeoutError: the command wrote no output for `seconds`, if that is given.
        """
        input_, output, error = self._client.exec_command(command, timeout=seconds)
        input_.write(stdin)
        input_.channel.shutdown_write()
        # A command blocks until both of its streams are read, so they are read in parallel.
        with ThreadPoolExecutor(1) as executor:
            error_bytes = executor.submit(error.read)
            output_bytes = output.read()
        return CommandResult(
            output.channel.recv_exit_status(),
            output_bytes.decode(errors="replace"),
            error_bytes.result().decode(errors="replace"),
        )


def file_exists(shell: Shell, name: str, path: str) -> bool:
    """Return True if the machine has a file that root can see. A failed sudo is no missing file.

    Args:
        shell: of the machine.
        name: of the machine, for the error.
        path: of the file.

    Raises:
        UserError: the command failed or printed something else.
    """
    test = f"test -f {shlex.quote(path)} && echo yes || echo no"
    action = f"{name}: looking for {path}"
    answer = shell.run(f"sudo --non-interactive sh -c {shlex.quote(test)}").checked(action).strip()
    if answer not in ("yes", "no"):
        raise UserError(f"{action} failed: the machine printed {answer!r} instead of yes or no")
    return answer == "yes"


@contextmanager
def connected(login: SshLogin) -> Iterator[Shell]:
    """Connect to a machine, through its bastion if it has one.

    Raises:
        UserError: the machine cannot be reached or refuses the login; the message says what to do.
    """
    with ExitStack() as stack:
        channel = None
        if login.bastion:
            transport = stack.enter_context(_client(login.bastion, None)).get_transport()
            assert transport is not None
            try:
                channel = transport.open_channel(
                    "direct-tcpip", (login.host, login.port), ("127.0.0.1", 0), timeout=DIAL_SECONDS
                )
            except (paramiko.SSHException, OSError) as error:
                raise UserError(_unreachable(login, f"from the bastion: {error}")) from None
        yield Shell(stack.enter_context(_client(login, channel)))


@contextmanager
def _client(login: SshLogin, channel: paramiko.Channel | None) -> Iterator[paramiko.SSHClient]:
    client = paramiko.SSHClient()
    key_type, _, encoded = login.host_key.partition(" ")
    known_host = login.host if login.port == 22 else f"[{login.host}]:{login.port}"
    entry = paramiko.hostkeys.HostKeyEntry.from_line(f"{known_host} {key_type} {encoded.split()[0]}")
    assert entry is not None
    assert entry.key is not None
    client.get_host_keys().add(entry.hostnames[0] if entry.hostnames else login.host, key_type, entry.key)
    client.set_missing_host_key_policy(paramiko.RejectPolicy())
    try:
        client.connect(
            login.host,
            login.port,
            username=login.user,
            pkey=_private_key(login),
            timeout=DIAL_SECONDS,
            banner_timeout=DIAL_SECONDS,
            auth_timeout=DIAL_SECONDS,
            allow_agent=False,
            look_for_keys=False,
            sock=channel,
        )
    except paramiko.BadHostKeyException as error:
        raise UserError(
            f"{login.name} ({login.host}): its host key is {error.key.get_name()} {error.key.get_base64()}, but the "
            "settings have another one (host_key). If the machine was reinstalled, set its new key; otherwise a "
            "different machine answers at this address"
        ) from None
    except paramiko.AuthenticationException:
        raise UserError(
            f"{login.name} ({login.host}): it does not let {login.user} in with this key; add the public key "
            f"to ~{login.user}/.ssh/authorized_keys there, or set another key or user (infra:hosts)"
        ) from None
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise UserError(_unreachable(login, str(error) or type(error).__name__)) from None
    with client:
        yield client


def _unreachable(login: SshLogin, reason: str) -> str:
    return (
        f"{login.name}: no SSH at {login.host}:{login.port} ({reason}): check that the machine is on, that the address "
        "is right and that firewalls allow the port"
    )


def _private_key(login: SshLogin) -> paramiko.PKey:
    for kind in (paramiko.Ed25519Key, paramiko.RSAKey, paramiko.ECDSAKey):
        try:
            return kind.from_private_key(io.StringIO(login.key))
        except (paramiko.SSHException, ValueError):
            continue
    raise UserError(
        f"{login.name}: the private key cannot be read: use an Ed25519, RSA or ECDSA key without a passphrase"
    )
