"""Connections to a remote host: credentials, host keys, retries, jump hosts and error texts."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
import psutil
import pytest
from paramiko.common import AUTH_FAILED, AUTH_SUCCESSFUL, OPEN_SUCCEEDED
from paramiko.server import InteractiveQuery

from airgap.stand_ins.command.resource_command.ssh.keepalive import keep_alive
from airgap.stand_ins.command.resource_command.ssh.keys import private_key
from airgap.stand_ins.protocol.property_values import Properties, Secret
from infra.local.free_ports import free_port
from tests.waiting import until

from .plugin import REMOTE, Plugin, Refused
from .sshd import USER, Sshd, make_key


def connect(plugin: Plugin, connection: Properties, name: str = "thing", timeout: float = 0) -> object:
    """Return the output of a command over the connection."""
    return plugin.create(REMOTE, {"connection": Secret(connection), "create": "echo hi"}, name, timeout=timeout)[
        "stdout"
    ]


def refusal(plugin: Plugin, connection: Properties, name: str = "thing", timeout: float = 0) -> str:
    with pytest.raises(Refused) as caught:
        connect(plugin, connection, name, timeout)
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "form", "passphrase"),
    [
        ("ed25519", "RFC4716", ""),
        ("ed25519", "RFC4716", "a phrase"),
        ("rsa", "RFC4716", "a phrase"),
        ("rsa", "PEM", ""),
        ("rsa", "PEM", "a phrase"),
        ("rsa", "PKCS8", ""),
        ("ecdsa", "PEM", ""),
        ("ecdsa", "PKCS8", "a phrase"),
    ],
)
def test_private_key_in_each_format_is_accepted(
    kind: str, form: str, passphrase: str, plugin: Plugin, sshd: Sshd, tmp_path: Path
) -> None:
    key, public = make_key(tmp_path / "key", kind, passphrase, form)
    with sshd.authorized.open("a") as authorized:
        authorized.write(public + "\n")
    connection = sshd.connection(privateKey=key, privateKeyPassword=passphrase or None)
    assert connect(plugin, connection) == "hi"


def test_private_key_unusable_fails_without_quoting_it(plugin: Plugin, sshd: Sshd, tmp_path: Path) -> None:
    key, _ = make_key(tmp_path / "key", passphrase="right")
    cases = {
        "the private key is encrypted, and privateKeyPassword is not set": sshd.connection(privateKey=key),
        "the private key cannot be read with privateKeyPassword": sshd.connection(
            privateKey=key, privateKeyPassword="wr0ng"
        ),
        "the private key cannot be read": sshd.connection(privateKey="s3cret"),
    }
    assert {message: refusal(plugin, connection) for message, connection in cases.items()} == {
        message: f"UNKNOWN: {message}" for message in cases
    }


def test_private_key_not_authorized_fails_with_attempted_methods(plugin: Plugin, sshd: Sshd, tmp_path: Path) -> None:
    key, _ = make_key(tmp_path / "key")
    assert refusal(plugin, sshd.connection(privateKey=key)) == (
        f"UNKNOWN: after 0 failed attempts: 127.0.0.1:{sshd.port}: unable to authenticate as {USER},"
        " attempted methods [none publickey]"
    )


@pytest.fixture
def agent(sshd: Sshd, tmp_path: Path) -> Iterator[str]:
    """Start an agent with the user's key; yield its socket."""
    path = str(tmp_path / "agent")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    until(lambda: os.path.exists(path))  # noqa: PTH110 - a path of a socket
    add = ["ssh-add", "-q", str(sshd.folder / "user_key")]
    subprocess.run(add, env=os.environ | {"SSH_AUTH_SOCK": path}, check=True, capture_output=True)
    yield path
    process.kill()
    process.wait()


def test_agent_path_set_logs_in(agent: str, plugin: Plugin, sshd: Sshd) -> None:
    assert connect(plugin, sshd.connection(privateKey=None, agentSocketPath=agent)) == "hi"


def test_agent_of_environment_logs_in(agent: str, sshd: Sshd) -> None:
    with Plugin(environment={"SSH_AUTH_SOCK": agent}) as plugin:
        assert connect(plugin, sshd.connection(privateKey=None)) == "hi"


def test_agent_missing_at_path_fails_with_path(plugin: Plugin, sshd: Sshd) -> None:
    message = refusal(plugin, sshd.connection(agentSocketPath="/no/agent"))
    assert message.startswith("UNKNOWN: the SSH agent at /no/agent: ")


class PasswordServer(paramiko.ServerInterface):
    """A server with one password and one method; OpenSSH would need an account with a password."""

    def __init__(self, method: str) -> None:
        self.method = method

    def get_allowed_auths(self, username: str) -> str:
        return self.method

    def check_auth_password(self, username: str, password: str) -> int:
        right = self.method == "password" and (username, password) == ("root", "s3cret")
        return AUTH_SUCCESSFUL if right else AUTH_FAILED

    def check_auth_interactive(self, username: str, submethods: str) -> Any:
        return InteractiveQuery("", "", ("Password: ", False))

    def check_auth_interactive_response(self, responses: list[str]) -> int:
        return AUTH_SUCCESSFUL if responses == ["s3cret"] else AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Timer(0.2, self._answer, [channel]).start()  # after the reply to the request
        return True

    def _answer(self, channel: paramiko.Channel) -> None:
        channel.sendall(b"hi\n")
        channel.send_exit_status(0)
        channel.close()


@pytest.mark.parametrize("method", ["password", "keyboard-interactive"])
def test_password_right_and_wrong_logs_in_and_fails(method: str, plugin: Plugin, sshd: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                transport = paramiko.Transport(listener.accept()[0])
                transport.add_server_key(private_key((sshd.folder / "host_key").read_text(), None))
                transport.start_server(server=PasswordServer(method))

        threading.Thread(target=serve, daemon=True).start()
        # The user's name is the default.
        connection = sshd.connection(
            port=float(listener.getsockname()[1]), user=None, privateKey=None, password=Secret("s3cret")
        )
        assert connect(plugin, connection) == "hi"
        message = refusal(plugin, {**connection, "password": "wr0ng"})
        assert f"unable to authenticate as root, attempted methods [none {method}]" in message
        assert "wr0ng" not in message


class TestHostKey:
    def test_host_key_unset_is_not_checked(self, plugin: Plugin, sshd: Sshd) -> None:
        assert connect(plugin, sshd.connection(hostKey=None)) == "hi"

    @pytest.mark.parametrize("line", ["{0} {1}", "# comment\n\n{0} {1} name@host", "[127.0.0.1]:22 {0} {1}"])
    def test_host_key_line_is_parsed(self, line: str, plugin: Plugin, sshd: Sshd) -> None:
        assert connect(plugin, sshd.connection(hostKey=line.format(*sshd.host_key.split()))) == "hi"

    @pytest.mark.parametrize(
        ("kind", "found"), [("ed25519", "the host has ssh-ed25519 SHA256:"), ("rsa", "the host has none of")]
    )
    def test_host_key_mismatch_fails_without_retry(
        self, kind: str, found: str, plugin: Plugin, sshd: Sshd, tmp_path: Path
    ) -> None:
        _, other = make_key(tmp_path / "key", kind)
        message = refusal(plugin, sshd.connection(hostKey=other, dialErrorLimit=-1.0))
        assert f"127.0.0.1:{sshd.port}: ssh: host key mismatch: expected {other.split()[0]} SHA256:" in message
        assert found in message

    def test_host_key_malformed_fails(self, plugin: Plugin, sshd: Sshd) -> None:
        message = refusal(plugin, sshd.connection(hostKey="ssh-ed25519 nonsense"))
        assert message.startswith("UNKNOWN: failed to parse host key")


class TestAttempts:
    def test_retries_stop_at_the_limit(self, plugin: Plugin, sshd: Sshd) -> None:
        port = free_port()
        message = refusal(plugin, sshd.connection(port=float(port), dialErrorLimit=2.0), "refused")
        assert message == f"UNKNOWN: after 2 failed attempts: dial tcp 127.0.0.1:{port}: connection refused"
        assert plugin.engine.lines("refused") == ["Dial 1/2 failed: retrying", "Dial 2/2 failed: retrying"]

    @pytest.mark.parametrize("limit", [None, -1.0])
    def test_retries_continue_until_the_server_starts(
        self, limit: float | None, plugin: Plugin, stopped_sshd: Sshd
    ) -> None:
        """The default is 10 retries; delays start at 0.1 s and grow by half."""
        timer = threading.Timer(1.0, stopped_sshd.start)
        timer.start()
        try:
            assert connect(plugin, stopped_sshd.connection(dialErrorLimit=limit), f"late{limit}") == "hi"
        finally:
            timer.join()
            stopped_sshd.stop()
        retries = plugin.engine.lines(f"late{limit}")[:-1]
        assert retries == [
            f"Dial {n + 1}/{10 if limit is None else 'inf'} failed: retrying" for n in range(len(retries))
        ]
        assert 1 <= len(retries) <= 9

    def test_retries_end_with_the_operation(self, plugin: Plugin, sshd: Sshd) -> None:
        connection = sshd.connection(port=float(free_port()), dialErrorLimit=-1.0)
        assert refusal(plugin, connection, timeout=1) == "UNKNOWN: timed out after 1 s"

    def test_attempt_times_out(self, plugin: Plugin, sshd: Sshd) -> None:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            connection = sshd.connection(port=float(mute.getsockname()[1]), perDialTimeout=1.0)
            began = time.monotonic()
            message = refusal(plugin, connection)
            assert 1 <= time.monotonic() - began < 10
        assert "ssh: handshake failed" in message

    def test_attempt_without_timeout_ends_with_the_operation(self, plugin: Plugin, sshd: Sshd) -> None:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            connection = sshd.connection(port=float(mute.getsockname()[1]), perDialTimeout=0.0)
            assert refusal(plugin, connection, timeout=1) == "UNKNOWN: timed out after 1 s"

    def test_host_name_unknown_fails_with_its_name(self, plugin: Plugin, sshd: Sshd) -> None:
        message = refusal(plugin, sshd.connection(host="no.such.host.invalid"))
        assert message.startswith("UNKNOWN: after 0 failed attempts: dial tcp: lookup no.such.host.invalid: ")

    def test_server_without_ssh_fails_in_the_handshake(self, plugin: Plugin, sshd: Sshd) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            threading.Thread(target=lambda: other.accept()[0].close(), daemon=True).start()
            message = refusal(plugin, sshd.connection(port=float(other.getsockname()[1])))
        assert "ssh: handshake failed" in message


class TestProxy:
    """A jump host has separate credentials and a separate host key."""

    def test_proxy_forwards_to_the_host(self, plugin: Plugin, sshd: Sshd, bastion: Sshd) -> None:
        connection = sshd.connection(proxy=bastion.connection())
        outputs = plugin.create(REMOTE, {"connection": connection, "create": "echo $SSH_CONNECTION"})
        assert str(outputs["stdout"]).endswith(f" {sshd.port}")

    def test_proxy_credentials_wrong_fails_for_the_proxy(self, plugin: Plugin, sshd: Sshd, bastion: Sshd) -> None:
        message = refusal(plugin, sshd.connection(proxy=bastion.connection(privateKey=sshd.key)))
        assert f"UNKNOWN: proxy: after 0 failed attempts: 127.0.0.1:{bastion.port}: unable to authenticate" in message

    def test_proxy_host_key_mismatch_fails_for_the_proxy(self, plugin: Plugin, sshd: Sshd, bastion: Sshd) -> None:
        message = refusal(plugin, sshd.connection(proxy=bastion.connection(hostKey=sshd.host_key)))
        assert f"UNKNOWN: proxy: 127.0.0.1:{bastion.port}: ssh: host key mismatch" in message

    def test_proxy_host_key_of_target_is_still_checked(self, plugin: Plugin, sshd: Sshd, bastion: Sshd) -> None:
        message = refusal(plugin, sshd.connection(hostKey=bastion.host_key, proxy=bastion.connection()))
        assert f"UNKNOWN: proxy: 127.0.0.1:{sshd.port}: ssh: host key mismatch" in message

    def test_proxy_and_host_have_separate_limits(self, plugin: Plugin, sshd: Sshd, bastion: Sshd) -> None:
        port = float(free_port())
        via = sshd.connection(dialErrorLimit=0.0, proxy=bastion.connection(port=port, dialErrorLimit=1.0))
        assert f"proxy: after 1 failed attempts: dial tcp 127.0.0.1:{port:.0f}" in refusal(plugin, via, "no-proxy")
        assert plugin.engine.lines("no-proxy") == ["Dial proxy 1/1 failed: retrying"]
        host = sshd.connection(port=port, dialErrorLimit=1.0, proxy=bastion.connection(dialErrorLimit=0.0))
        assert f"proxy: after 1 failed attempts: dial tcp 127.0.0.1:{port:.0f}" in refusal(plugin, host, "no-host")
        assert plugin.engine.lines("no-host") == ["Dial from proxy 1/1 failed: retrying"]


def test_keepalive_unresponsive_host_closes_the_connection(sshd: Sshd) -> None:
    """A power failure leaves the connection open."""
    transport = paramiko.Transport(("127.0.0.1", sshd.port))
    transport.start_client()
    transport.auth_publickey(USER, private_key(sshd.key, None))
    channel = transport.open_session()
    with keep_alive(transport, interval=0.2, timeout=3):
        channel.exec_command("echo $PPID; sleep 2; echo still here; sleep 600")
        session = psutil.Process(int(channel.recv(100)))
        assert channel.recv(100) == b"still here\n"  # several probes were sent and answered
        session.send_signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            assert channel.recv(100) == b""
            assert time.monotonic() - began < 10
            assert not transport.is_active()
        finally:
            for process in [*session.children(recursive=True), session]:
                process.kill()
