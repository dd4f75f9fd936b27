"""Orders of certificates from an ACME directory (RFC 8555), which looks for the door at port 80 of its host."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from infra.errors import UserError
from infra.retry import poll

if TYPE_CHECKING:
    from acme.client import ClientV2
    from acme.messages import NewRegistration, OrderResource
    from josepy.jwk import JWKEC

SETTING = "platform:door.acme"
CHALLENGES = "/.well-known/acme-challenge/"
PROBE = "door"
WAIT_SECONDS = 60
"""Time until the address of a new door answers."""


def new_account_key() -> tuple[str, str]:
    """Return a new account key in PEM format, and its thumbprint, with which nginx answers challenges."""
    from josepy.b64 import b64encode

    key = _new_key()
    return key, b64encode(_account_key(key).thumbprint()).decode()


def order_certificate(order: Mapping[str, Any]) -> dict[str, str]:
    """Order a certificate once the door answers, and return it with its chain as `certificate`, and its `key`.

    Args:
        order: the inputs of an `AcmeCertificate`. Pulumi leaves out those that are None.

    Raises:
        UserError: the directory does not respond, or refuses.
    """
    import acme.errors
    import josepy.errors

    url = f"{order['url']}{CHALLENGES}{PROBE}"
    found = _wait_for_door(url, f"{PROBE}.{order['thumbprint']}")
    try:
        client = _client(order)
        key = _new_key()
        return {"certificate": _issue(client, order["host"], key), "key": key}
    except (acme.errors.Error, josepy.errors.Error, OSError, KeyError) as error:
        reason = " ".join(str(getattr(error, "error", error)).split()) or type(error).__name__
        if isinstance(error, acme.errors.ValidationError):
            reason += ". The directory has to reach the door at port 80 of this host"
            reason += f". From this computer, too, the door does not answer at {url}: {found}" if found else ""
        raise UserError(
            f"{SETTING}: {order['directory']} issued no certificate for {order['host']}: {reason}"
        ) from None


def _wait_for_door(url: str, expected: str) -> str:
    """Wait until the door answers as expected; return what came instead, or "".

    This computer may have no way to the door, so the directory decides.
    """
    import requests

    found = ""

    def answers() -> bool | None:
        nonlocal found
        try:
            answer = requests.get(url, timeout=5, allow_redirects=False)
            found = "" if answer.text == expected else f"status {answer.status_code}, another text"
        except requests.RequestException as error:
            found = str(error)
        return None if found else True

    poll(answers, timeout=WAIT_SECONDS, interval=1)
    return found


def _client(order: Mapping[str, Any]) -> ClientV2:
    """Return a client with an account at the directory."""
    from acme import errors, messages
    from acme.client import ClientNetwork, ClientV2
    from josepy.jwa import ES256

    # requests takes the file of an authority, too.
    verify = cast("bool", order.get("ca_file") or True)
    network = ClientNetwork(_account_key(order["account_key"]), None, ES256, verify, "mlplatform")
    client = ClientV2(ClientV2.get_directory(order["directory"], network), network)
    if client.external_account_required():
        raise errors.Error("it wants an external account binding, which is not supported")
    contact: NewRegistration = messages.NewRegistration.from_data(
        email=order.get("email"), terms_of_service_agreed=True
    )
    try:
        client.new_account(contact)
    except errors.ConflictError as known:
        client.update_registration(messages.RegistrationResource(body=contact, uri=known.location), contact)
    return client


def _issue(client: ClientV2, host: str, key: str) -> str:
    """Return the certificate of a host, with its chain."""
    from acme.crypto_util import make_csr

    try:
        request = make_csr(key.encode(), ipaddrs=[ipaddress.IPv4Address(host)])
    except ValueError:
        request = make_csr(key.encode(), [host])
    order = client.new_order(request)
    _answer_challenges(client, order)
    deadline = datetime.datetime.now() + datetime.timedelta(seconds=90)
    chain: str = client.poll_and_finalize(order, deadline).fullchain_pem
    return chain


def _answer_challenges(client: ClientV2, order: OrderResource) -> None:
    """Request the checks of the directory, which nginx answers."""
    from acme import challenges, errors, messages

    for authorization in order.authorizations:
        if authorization.body.status == messages.STATUS_VALID:
            continue
        over_http = [each for each in authorization.body.challenges if isinstance(each.chall, challenges.HTTP01)]
        if not over_http:
            raise errors.Error("it does not offer a check over HTTP (http-01)")
        client.answer_challenge(over_http[0], over_http[0].response(client.net.key))


def _new_key() -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private.decode()


def _account_key(key: str) -> JWKEC:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from josepy.jwk import JWKEC

    return JWKEC(key=load_pem_private_key(key.encode(), None))
