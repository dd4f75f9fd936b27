"""Policies for persistent volume claims."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from policies.rendered_values import as_list, as_mapping, policy


def claim_without_class(kind: str, properties: Mapping[str, Any]) -> Iterator[str]:
    """Report claims without a storage class."""
    claims = [properties] if kind == "kubernetes:core/v1:PersistentVolumeClaim" else []
    if kind == "kubernetes:apps/v1:StatefulSet":
        claims = as_list(as_mapping(properties.get("spec")).get("volumeClaimTemplates"))
    for claim in map(as_mapping, claims):
        if not as_mapping(claim.get("spec")).get("storageClassName"):
            name = as_mapping(claim.get("metadata")).get("name", "the claim")
            yield f"{name} has no spec.storageClassName: the default class of the cluster would decide its storage"


POLICIES = [
    policy("no-claim-without-class", "A persistent volume claim sets its storage class", claim_without_class),
]
