"""The resources that a program creates, rendered with Pulumi's mocks in place of the engine and providers."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pulumi
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from airgap.bundle.registry.certificates import issue_authority

Properties = dict[str, Any]
NODES = [
    {
        "name": "node-1",
        "role": "worker",
        "address": "192.0.2.21",
        "external_address": "198.51.100.21",
        "version": "v1.34.4",
    }
]
"""Nodes of each cluster of a vendor."""
CLAIM_CLASSES = {"kubeflow/mysql": "premium"}
"""Classes of claims that each cluster of a vendor has before."""
CERTIFICATE = issue_authority("test").certificate.decode()
"""Certificate of each door."""
API_ADDRESSES = ["10.0.0.1", "192.0.2.11"]
"""Addresses of the API server of each cluster of a vendor."""


def key_pair() -> dict[str, str]:
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return {"private_key": private.decode(), "public_key": public.decode()}


@dataclass
class Graph(pulumi.runtime.Mocks):
    """Mocks that keep the inputs of each resource by its type (without the package) and name."""

    resources: dict[tuple[str, str], Properties] = field(default_factory=dict)

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, Properties]:
        self.resources[args.typ.split(":")[-1], args.name] = args.inputs
        return f"/{args.name}", args.inputs | {"name": f"{args.name}-azure"} | self._outputs(args)

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[Properties, list[tuple[str, str]] | None]:
        answers: dict[str, Properties] = {
            "azure-native:authorization:getClientToken": {"token": "bearer"},
            "azure-native:storage:listStorageAccountKeys": {"keys": [{"keyName": "key1", "value": "account-key"}]},
            "azure-native:containerservice:listManagedClusterUserCredentials": {
                "kubeconfigs": [{"name": "user", "value": base64.b64encode(b"kubeconfig-of-aks").decode()}]
            },
        }
        return answers[args.token], []

    def _outputs(self, args: pulumi.runtime.MockResourceArgs) -> Properties:
        match args.typ.split(":")[-1]:
            case "SshKey":
                return key_pair()
            case "PublicIPAddress":
                label = args.inputs.get("dnsSettings", {}).get("domainNameLabel")
                return {"ipAddress": f"ip-of-{args.name}", "dnsSettings": {"fqdn": f"{label}.cloudapp.azure.com"}}
            case "VirtualMachine":  # a list of identities on the way in, a mapping on the way out
                return {"identity": {"type": "UserAssigned", "userAssignedIdentities": {}}}
            case "ManagedCluster":
                return {"identity": {"type": "SystemAssigned"}}
            case "Registry":
                return {"loginServer": "registry.azurecr.io"}
            case "StorageAccount":
                return {"primaryEndpoints": {"blob": "https://datasets.blob.core.windows.net/"}}
            case "DoorCertificate":
                keys = {"key": "key", "authority_key": "key"}
                return {"certificate": CERTIFICATE, "authority": "ca", "expires": 1.0} | keys
            case "AcmeAccount":
                return {"key": "account-key", "thumbprint": "account-thumbprint"}
            case "AcmeCertificate":
                return {"certificate": CERTIFICATE, "key": "acme-key"}
            case "Image":
                return {"reference": f"registry.test/mlplatform/{args.name}@sha256:{'0' * 64}"}
            case "ClusterFacts":
                return {"nodes": NODES, "storage_class": "disk"}
            case "ObjectOwnership":
                return {"claim_classes": CLAIM_CLASSES, "api_addresses": API_ADDRESSES}
            case "AzureTokenPassword" | "Password" | "MachineOwner":
                return {"value": args.name}
        return {}

    def of(self, kind: str) -> dict[str, Properties]:
        """Return the inputs of all resources of a type, sorted by name.

        Pulumi registers resources that do not depend on each other in any order.
        """
        return {name: inputs for (of, name), inputs in sorted(self.resources.items()) if of == kind}


def run(program: Callable[[], Any], preview: bool = False, graph: Graph | None = None) -> tuple[Graph, Any]:
    """Run a program with the mocks of `graph`; return its resources, and its result with the values of outputs."""
    graph = graph or Graph()
    pulumi.runtime.set_mocks(graph, project="mlplatform", stack="azure", preview=preview, organization="acme")
    returned: list[Any] = []

    @pulumi.runtime.test  # type: ignore[untyped-decorator]
    def awaited() -> Any:
        return pulumi.Output.from_input(program()).apply(returned.append)

    awaited()
    return graph, next(iter(returned), None)
