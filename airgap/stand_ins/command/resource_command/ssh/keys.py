"""Parsers for private keys, and for host keys in the format of authorized_keys."""

from __future__ import annotations

import base64
import io
from contextlib import suppress
from itertools import pairwise

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from airgap.stand_ins.command.resource_command.errors import OperationFailed

_HOST_KEYS = {"ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521"}


def private_key(text: str, password: str | None) -> paramiko.PKey:
    """Parse a key in OpenSSH, PKCS#1, PKCS#8 or SEC 1 format.

    Raises:
        OperationFailed: the key or its password is wrong; no part of the key is quoted.
    """
    load = load_ssh_private_key if "BEGIN OPENSSH PRIVATE KEY" in text else load_pem_private_key
    try:
        key = load(text.encode(), None if password is None else password.encode())
    except TypeError as error:
        problem = "is encrypted, and privateKeyPassword is not set" if password is None else "is not encrypted"
        raise OperationFailed(f"the private key {problem}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        problem = "cannot be read" if password is None else "cannot be read with privateKeyPassword"
        raise OperationFailed(f"the private key {problem}") from error
    kind: type[paramiko.PKey]
    if isinstance(key, rsa.RSAPrivateKey):
        kind = paramiko.RSAKey
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        kind = paramiko.ECDSAKey
    elif isinstance(key, ed25519.Ed25519PrivateKey):
        kind = paramiko.Ed25519Key
    else:
        raise OperationFailed("the private key is of a kind that SSH servers no longer accept")
    # Paramiko reads this format for every kind of key.
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    return kind.from_private_key(io.StringIO(plain))


def host_key(text: str) -> paramiko.PKey:
    """Parse the first key in `text`; options, a host name and a comment beside it are ignored.

    Raises:
        OperationFailed: the text holds no key.
    """
    for line in text.splitlines():
        words = line.split()
        for kind, encoded in pairwise(words):
            if kind in _HOST_KEYS:
                with suppress(paramiko.SSHException, ValueError):
                    return paramiko.PKey.from_type_string(kind, base64.b64decode(encoded, validate=True))
    raise OperationFailed("failed to parse host key: expected a line such as 'ssh-ed25519 AAAA...'")
