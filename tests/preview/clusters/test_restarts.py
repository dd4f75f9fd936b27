"""Pods that start again after a change of a Secret that they read only at their start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pulumi
import pytest

from tests.preview.graph import Graph, Properties, run
from tests.preview.rendered import PROGRAMS
from tests.preview.test_manifests import plain


@dataclass
class ClusterGraph(Graph):
    """Mocks with the outputs of a cluster: the texts of a Secret are its `data`, and each password ends with `salt`."""

    salt: str = ""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, Properties]:
        name, outputs = super().new_resource(args)
        return name, outputs | {"data": args.inputs.get("stringData", args.inputs.get("data"))}

    def _outputs(self, args: pulumi.runtime.MockResourceArgs) -> Properties:
        outputs = super()._outputs(args)
        return {"value": args.name + self.salt} if args.typ.endswith(":Password") else outputs


def secrets_of(pod: dict[str, Any]) -> Iterator[str]:
    """Yield the names of the Secrets in the environment and the volumes of a pod."""
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        for variable in container.get("env", []):
            if reference := variable.get("valueFrom", {}).get("secretKeyRef"):
                yield reference["name"]
    for volume in pod.get("volumes", []):
        if "secret" in volume:
            yield volume["secret"]["secretName"]


@pytest.mark.parametrize(
    ("program", "kind", "readers"),
    [
        ("kubeflow", "Deployment", 5),
        ("workloads", "Deployment", 8),
        ("weave", "DaemonSet", 1),
        ("metallb", "DaemonSet", 1),
    ],
)
def test_changed_passwords_replace_every_pod_that_reads_them(program: str, kind: str, readers: int) -> None:
    old, same, new = (run(PROGRAMS[program], graph=ClusterGraph(salt=salt))[0] for salt in ("", "", "-new"))
    changed = {
        each["metadata"]["name"]
        for name, each in old.of("Secret").items()
        if plain(each) != plain(new.of("Secret")[name])
    }
    templates = {
        name: [plain(graph.of(kind)[name])["spec"]["template"] for graph in (old, same, new)] for name in old.of(kind)
    }
    read = {name: changed & set(secrets_of(each[0]["spec"])) for name, each in templates.items()}
    assert len([name for name, secrets in read.items() if secrets]) == readers
    assert [name for name, each in templates.items() if read[name] and each[0] == each[2]] == []
    assert [name for name, each in templates.items() if each[0] != each[1]] == []
