"""What no claim of storage may lack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from policies.values import listed, mapping, policy


def claim_without_class(kind: str, properties: Mapping[str, Any]) -> Iterator[str]:
    claims = [properties] if kind == "kubernetes:core/v1:PersistentVolumeClaim" else []
    if kind == "kubernetes:apps/v1:StatefulSet":
        claims = listed(mapping(properties.get("spec")).get("volumeClaimTemplates"))
    for claim in map(mapping, claims):
        if not mapping(claim.get("spec")).get("storageClassName"):
            name = mapping(claim.get("metadata")).get("name", "the claim")
            yield f"{name} has no spec.storageClassName: which storage it gets is left to the cluster it lands in"


POLICIES = [
    policy("no-claim-without-class", "A claim names its storage class", claim_without_class),
]
