"""Update the schema that tests hold manifests to: `python -m tools.ci.kubernetes_schema`.

The source is the OpenAPI document of the Kubernetes version in versions.toml. Its Go module comes through the Go proxy
that the environment names.
"""

from __future__ import annotations

import json
from typing import Any

from tools.bootstrap import paths
from tools.ci.vendor_manifests import download_module

MODULE = "k8s.io/kubernetes"
DOCUMENT = "api/openapi-spec/swagger.json"
FILE = paths.PROJECT / "tests" / "preview" / "kubernetes-schema.json"
PREFIX = "#/definitions/"
KINDS = (
    *("apps/v1/DaemonSet", "apps/v1/Deployment", "apps/v1/StatefulSet"),
    "apiextensions.k8s.io/v1/CustomResourceDefinition",
    "apiregistration.k8s.io/v1/APIService",
    "autoscaling/v2/HorizontalPodAutoscaler",
    "batch/v1/Job",
    "networking.k8s.io/v1/NetworkPolicy",
    "policy/v1/PodDisruptionBudget",
    *(f"rbac.authorization.k8s.io/v1/{kind}" for kind in ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")),
    "storage.k8s.io/v1/StorageClass",
    *(f"v1/{kind}" for kind in ("ConfigMap", "LimitRange", "Namespace", "PersistentVolumeClaim", "ResourceQuota")),
    *(f"v1/{kind}" for kind in ("Secret", "Service", "ServiceAccount")),
)
"""The kinds that this program creates, as `apiVersion/kind`."""
ANY_TYPE = ("JSON", "JSONSchemaPropsOrArray", "JSONSchemaPropsOrBool", "JSONSchemaPropsOrStringArray")
"""Types that take any JSON value."""
FORMATS: dict[str, dict[str, Any]] = {"int-or-string": {"type": ["integer", "string"]}}
QUANTITY: dict[str, Any] = {"type": ["number", "string"]}


def main() -> None:
    """Write a JSON Schema with a definition for each kind and all types beneath them."""
    version = f"v{paths.pinned_versions()['kubernetes']['version']}"
    document = json.loads((download_module(MODULE, version) / DOCUMENT).read_text())["definitions"]
    kinds = {
        "/".join(part for part in (each["group"], each["version"], each["kind"]) if part): name
        for name, definition in document.items()
        for each in definition.get("x-kubernetes-group-version-kind", [])
    }
    pending = [kinds[kind] for kind in KINDS]
    definitions: dict[str, Any] = {}
    while pending:
        name = pending.pop()
        if name not in definitions:
            definitions[name] = _schema(name.rpartition(".")[2], document[name])
            pending += _references(definitions[name])
    schema = {
        "$comment": (
            f"Derived from {DOCUMENT} of the Go module {MODULE} {version} (Apache License 2.0) by {__spec__.name}"
        ),
        "version": version,
        "kinds": {kind: PREFIX + kinds[kind] for kind in KINDS},
        "definitions": dict(sorted(definitions.items())),
    }
    FILE.write_text(json.dumps(schema, indent=0, separators=(",", ":")) + "\n")


def _schema(name: str, node: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a type that allows no unknown fields, without descriptions."""
    if name in ANY_TYPE:
        return {}
    if name == "Quantity":
        return QUANTITY
    if "$ref" in node:
        return {"$ref": node["$ref"]}
    if node.get("format") in FORMATS:
        return FORMATS[node["format"]]
    schema: dict[str, Any] = {key: node[key] for key in ("type", "required", "enum") if key in node}
    if "items" in node:
        schema["items"] = _schema("", node["items"])
    if "properties" in node:
        schema["properties"] = {key: _schema("", value) for key, value in node["properties"].items()}
        schema["additionalProperties"] = False
    elif "additionalProperties" in node:
        schema["additionalProperties"] = _schema("", node["additionalProperties"])
    return schema


def _references(node: Any) -> list[str]:
    if isinstance(node, list):
        return [name for each in node for name in _references(each)]
    if not isinstance(node, dict):
        return []
    own = [node["$ref"].removeprefix(PREFIX)] if isinstance(node.get("$ref"), str) else []
    return [*own, *(name for each in node.values() for name in _references(each))]


if __name__ == "__main__":
    main()
