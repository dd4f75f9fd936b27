"""Token with which steps read the container of a storage account."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest
from mlplatform.blob_token import RENEWAL, _ContainerTokenProvider, account_name

PROPS = {
    "account_url": "https://flowers.blob.core.windows.net",
    "account_key": base64.b64encode(b"key").decode(),
    "container": "datasets",
}


def created() -> dict[str, Any]:
    return dict(_ContainerTokenProvider().create(PROPS).outs or {})


def changes(state: dict[str, Any], **news: str) -> bool | None:
    return _ContainerTokenProvider().diff("datasets", state, PROPS | news).changes


def test_token_reads_one_container_over_tls_for_a_year() -> None:
    token = {name: values[0] for name, values in parse_qs(created()["token"]).items()}
    assert {name: token[name] for name in ("sr", "sp", "spr")} == {"sr": "c", "sp": "rl", "spr": "https"}
    assert datetime.fromisoformat(token["se"]) - datetime.now(UTC) > timedelta(days=364)


def test_token_is_renewed_after_half_its_time_or_with_another_key() -> None:
    state = created()
    assert changes(state) is False
    assert changes(state, account_key="bmV3") is True
    assert changes(state, container="other") is True
    old = datetime.now(UTC) + RENEWAL - timedelta(minutes=1)
    assert changes(state | {"expires": old.isoformat()}) is True


@pytest.mark.parametrize(
    ("url", "account"),
    [
        ("https://flowers.blob.core.windows.net", "flowers"),
        ("https://flowers.blob.core.windows.net/", "flowers"),
        ("http://127.0.0.1:10000/datasets", "datasets"),
        ("http://10.20.0.1:10000/datasets", "datasets"),
        ("https://storage.hospital.example/flowers", "flowers"),
    ],
)
def test_account_name_returns_the_name_of_the_account(url: str, account: str) -> None:
    assert account_name(url) == account
