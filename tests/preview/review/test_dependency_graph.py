"""Tests of the dependency diagram, and of the diagram in docs/stacks.md."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness import CHECKOUT, temporary_stacks
from tools.cli.previews.dependency_graph import COMPOSERS, DIAGRAM, Box, mermaid, replace_diagram, transitive_reduction

A, B, C, D = (Box("infra/x.py", name) for name in "abcd")


def test_transitive_reduction_drops_implied_arrows() -> None:
    assert transitive_reduction({(A, B), (B, C), (C, D), (A, C), (A, D)}) == {(A, B), (B, C), (C, D)}
    assert transitive_reduction({(A, B), (A, C), (B, D), (C, D)}) == {(A, B), (A, C), (B, D), (C, D)}


def test_transitive_reduction_keeps_a_cycle() -> None:
    assert transitive_reduction({(A, B), (B, A), (B, C), (A, C)}) == {(A, B), (B, A), (B, C)}


def test_box_name_is_in_words() -> None:
    names = [
        Box("infra/x.py", each).name
        for each in ("load_balancer", "KubeadmCluster._control_plane", "PipelineRun.__init__")
    ]
    assert names == ["load balancer", "control plane", "pipeline run"]


@pytest.mark.parametrize("pattern", COMPOSERS)
def test_composer_names_an_existing_file(pattern: str) -> None:
    file = pattern.partition(":")[0].replace("\\", "")
    assert (CHECKOUT / file).is_file()


def test_methods_of_the_cluster_are_composers_and_its_steps_are_boxes() -> None:
    cluster = [
        Box("infra/kubeadm/__init__.py", f"KubeadmCluster.{name}")
        for name in ("__init__", "bootstrap_view", "ready_cluster")
    ]
    steps = [Box("infra/kubeadm/init.py", "init_control_plane"), Box("infra/kubeadm/join.py", "join_worker")]
    assert [box for box in [*cluster, *steps] if box.is_composer] == cluster


def test_replace_diagram_changes_the_diagram_only() -> None:
    page = "above\n\n```mermaid\nold\n```\n\n```console\n$ make up\n```\n"
    assert replace_diagram(page, "```mermaid\nnew\n```\n") == page.replace("old", "new")


def _json_of(output: str) -> dict[str, Any]:
    """Return the JSON object within the output of a command."""
    content: dict[str, Any] = json.JSONDecoder().raw_decode(output[output.index("{") :])[0]
    return content


def test_diagram_in_the_docs_is_current(project: Path, tmp_path: Path) -> None:
    settings = yaml.safe_load((CHECKOUT / "Pulumi.lab.yaml").read_text())["config"]
    with temporary_stacks(project) as make_stack:
        code, output = make_stack("picture", tmp_path, settings).pulumi("preview", "--json")
    assert code == 0, output
    (current,) = DIAGRAM.findall((CHECKOUT / "docs/stacks.md").read_text())
    diagram = mermaid(_json_of(output))
    assert diagram == current, "docs/stacks.md is outdated: run make picture STACK=lab ARGS='--page docs/stacks.md'"
