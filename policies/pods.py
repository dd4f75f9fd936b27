"""What no pod may be, whichever resource makes it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from policies.values import UNKNOWN, listed, mapping, policy

OWN_IMAGES = "/mlplatform/"
"""In the names of images that are built here, which are named by their content."""
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
TAG = re.compile(r":(?!latest$)[\w][\w.-]*$")
"""At the end of an image's name: a tag that is a version."""
SYSTEM_NAMESPACES = frozenset({"kube-system", "openebs", "metallb-system"})
"""Where pods manage the nodes themselves: networks, disks, addresses."""
SECRET_NAME = re.compile(r"(PASSWORD|PASSWD|SECRET|TOKEN|CREDENTIAL|PRIVATE_?KEY|ACCESS_?KEY|API_?KEY)", re.IGNORECASE)
TEMPLATES = {
    "kubernetes:core/v1:Pod": ("spec",),
    "kubernetes:batch/v1:CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
}
TEMPLATED = {
    *(f"kubernetes:apps/v1:{kind}" for kind in ("Deployment", "DaemonSet", "StatefulSet", "ReplicaSet")),
    "kubernetes:batch/v1:Job",
}


def unpinned_image(kind: str, properties: Mapping[str, Any]) -> Iterator[str]:
    for container in _containers(kind, properties):
        image = container.get("image")
        if not isinstance(image, str) or DIGEST.search(image):
            continue
        if OWN_IMAGES in image:
            yield f"{_name(container)}: {image} is an image of our own and has to be named by its digest (@sha256:...)"
        elif not TAG.search(image):
            yield f"{_name(container)}: {image} has no version: a tag other than latest, or a digest"


def without_limits(kind: str, properties: Mapping[str, Any]) -> Iterator[str]:
    for container in _containers(kind, properties):
        resources = container.get("resources", {})
        limits, requests = (mapping(resources).get(part, {}) for part in ("limits", "requests"))
        if UNKNOWN in (resources, limits, requests):
            continue
        if "memory" not in limits:
            yield f"{_name(container)} has no resources.limits.memory: what it takes too much of, others lack"
        if "cpu" not in limits and "cpu" not in requests:
            yield f"{_name(container)} has neither a limit nor a request of cpu"


def root(kind: str, properties: Mapping[str, Any]) -> Iterator[str]:
    if mapping(properties.get("metadata")).get("namespace") in SYSTEM_NAMESPACES:
        return
    pod = _pod(kind, properties).get("securityContext", {})
    for container in _containers(kind, properties):
        own = container.get("securityContext", {})
        if UNKNOWN in (pod, own):
            continue
        context = {**pod, **own}
        if context.get("privileged") is True:
            yield f"{_name(container)} is privileged, which is for {_system()} alone"
        elif context.get("runAsUser") == 0 or not (context.get("runAsNonRoot") or context.get("runAsUser")):
            yield f"{_name(container)} may run as root: set securityContext.runAsNonRoot or a runAsUser other than 0"


def plain_secret(kind: str, properties: Mapping[str, Any]) -> Iterator[str]:
    for container in _containers(kind, properties):
        for variable in map(mapping, listed(container.get("env"))):
            name, value = str(variable.get("name", "")), variable.get("value")
            # A path is where a secret is, not what it is.
            if value and SECRET_NAME.search(name) and not str(value).startswith("/"):
                yield f"{_name(container)}: {name} is written in the pod; take it from a Secret (secretKeyRef)"


def _pod(kind: str, properties: Mapping[str, Any]) -> Mapping[str, Any]:
    """The pod's specification in a resource that makes pods, else an empty one."""
    path = TEMPLATES.get(kind, ("spec", "template", "spec") if kind in TEMPLATED else ())
    if not path:
        return {}
    for step in path:
        properties = mapping(properties.get(step))
    return properties


def _containers(kind: str, properties: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    pod = _pod(kind, properties)
    return [mapping(each) for each in (*listed(pod.get("initContainers")), *listed(pod.get("containers")))]


def _name(container: Mapping[str, Any]) -> str:
    return f"container {container.get('name', '')}".strip()


def _system() -> str:
    return ", ".join(sorted(SYSTEM_NAMESPACES))


POLICIES = [
    policy("no-unpinned-image", "An image is named by a version; one of our own by its digest", unpinned_image),
    policy("no-container-without-limits", "A container has a limit of memory and asks for cpu", without_limits),
    policy("no-root", "Outside of the system's namespaces no container runs as root", root),
    policy("no-plain-secret", "A secret reaches a container by reference", plain_secret),
]
