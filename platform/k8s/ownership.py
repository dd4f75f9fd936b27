"""Ownership of objects in a cluster that exists: objects without this stack's labels are never taken over.

The Kubernetes provider updates an object that exists when it should create it. Therefore a resource of this module
looks for the objects first, and every other resource in the cluster waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pulumi
from mlplatform.k8s.owned_objects import OWNER, ClusterObject, release, take_ownership
from pulumi.dynamic import CreateResult, DiffResult, Resource, UpdateResult

from infra.dynamic_provider import DynamicProvider, UserError, any_changed


class _ObjectOwnershipProvider(DynamicProvider):
    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=any_changed(_olds, _news, ("kubeconfig", "owner", "objects")))

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult("ownership", props | take_ownership(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_news | take_ownership(_news, _olds))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        try:
            release(_props)
        except UserError as error:
            pulumi.log.warn(f"objects that stay in the cluster were not marked as released: {error}")


class ObjectOwnership(Resource, module="platform", name="ObjectOwnership"):
    """The right of this stack to create `objects` in the cluster of a kubeconfig (secret).

    Objects that exist must carry the stack's labels. They must also be released by `pulumi destroy`, or have been part
    of this stack before. When this resource is deleted, the objects that remain are released.

    Outputs:
        claim_classes: storage class by `namespace/name` of each claim that exists with the labels.
        api_addresses: IPv4 addresses of the API server for pods.

    Raises (as a failed resource):
        UserError: objects belong to another owner, one line for each; or the cluster does not answer.
    """

    claim_classes: pulumi.Output[Mapping[str, str]]
    api_addresses: pulumi.Output[Sequence[str]]

    def __init__(
        self,
        name: str,
        config: pulumi.Input[str],
        labels: Mapping[str, str],
        objects: Sequence[ClusterObject],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        outputs = dict.fromkeys(("cluster_uid", "claim_classes", "api_addresses"))
        secret = pulumi.ResourceOptions(additional_secret_outputs=["kubeconfig"])
        props = {"kubeconfig": config, "owner": labels[OWNER], "objects": [asdict(each) for each in objects], **outputs}
        super().__init__(_ObjectOwnershipProvider(), name, props, pulumi.ResourceOptions.merge(secret, opts))
