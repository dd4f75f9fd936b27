"""Policies for pods, of every resource that has a pod template."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from policies.rendered_values import UNKNOWN, as_list, as_mapping, policy

OWN_IMAGES = "/mlplatform/"
"""Part of the names of images that this project builds; they must be pinned by digest."""
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
TAG = re.compile(r":(?!latest$)[\w][\w.-]*$")
"""A tag that is a version, at the end of an image name."""
SYSTEM_NAMESPACES = frozenset({"kube-system", "kube-flannel", "openebs", "metallb-system"})
"""Namespaces whose pods manage networks, disks and addresses of the nodes."""
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
    """Report images without a version, and images of this project without a digest."""
    for container in _containers(kind, properties):
        image = container.get("image")
        if not isinstance(image, str) or DIGEST.search(image):
            continue
        if OWN_IMAGES in image:
            yield f"{_name(container)}: {image} is an image of this project and must be pinned by digest (@sha256:...)"
        elif not TAG.search(image):
            yield f"{_name(container)}: {image} has no version: a tag other than latest, or a digest"


def without_limits(kind: str, properties: Mapping[str, Any]) -> Iterator[str]:
    """Report containers without a memory limit, or with neither a limit nor a request of CPU."""
    for container in _containers(kind, properties):
        resources = container.get("resources", {})
        limits, requests = (as_mapping(resources).get(part, {}) for part in ("limits", "requests"))
        if UNKNOWN in (resources, limits, requests):
            continue
        if "memory" not in limits:
            yield f"{_name(container)} has no resources.limits.memory; it can exhaust the memory of its node"
        if "cpu" not in limits and "cpu" not in requests:
            yield f"{_name(container)} has neither a limit nor a request of cpu in resources"


def root_user(kind: str, properties: Mapping[str, Any]) -> Iterator[str]:
    """Report containers that run as root or privileged outside the system namespaces."""
    if as_mapping(properties.get("metadata")).get("namespace") in SYSTEM_NAMESPACES:
        return
    pod = _pod(kind, properties).get("securityContext", {})
    for container in _containers(kind, properties):
        own = container.get("securityContext", {})
        if UNKNOWN in (pod, own):
            continue
        context = {**pod, **own}
        if context.get("privileged") is True:
            yield f"{_name(container)} is privileged, which is allowed in {_system()} only"
        elif context.get("runAsUser") == 0 or not (context.get("runAsNonRoot") or context.get("runAsUser")):
            yield f"{_name(container)} may run as root: set securityContext.runAsNonRoot or a runAsUser other than 0"


def plain_secret(kind: str, properties: Mapping[str, Any]) -> Iterator[str]:
    """Report environment variables that hold a secret in clear text."""
    for container in _containers(kind, properties):
        for variable in map(as_mapping, as_list(container.get("env"))):
            name, value = str(variable.get("name", "")), variable.get("value")
            # A value that begins with a slash is the path of a secret, so it is allowed.
            if value and SECRET_NAME.search(name) and not str(value).startswith("/"):
                yield f"{_name(container)}: {name} is in clear text in the pod; read it from a Secret (secretKeyRef)"


def _pod(kind: str, properties: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the pod specification of a resource with a pod template, else an empty mapping."""
    path = TEMPLATES.get(kind, ("spec", "template", "spec") if kind in TEMPLATED else ())
    if not path:
        return {}
    for key in path:
        properties = as_mapping(properties.get(key))
    return properties


def _containers(kind: str, properties: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    pod = _pod(kind, properties)
    return [as_mapping(each) for each in (*as_list(pod.get("initContainers")), *as_list(pod.get("containers")))]


def _name(container: Mapping[str, Any]) -> str:
    return f"container {container.get('name', '')}".strip()


def _system() -> str:
    return ", ".join(sorted(SYSTEM_NAMESPACES))


POLICIES = [
    policy(
        "no-unpinned-image", "An image is pinned by a version; an image of this project by its digest", unpinned_image
    ),
    policy("no-container-without-limits", "A container has a memory limit and a CPU request", without_limits),
    policy("no-root", "Outside the system namespaces, no container runs as root", root_user),
    policy("no-plain-secret", "A secret reaches a container by reference", plain_secret),
]
