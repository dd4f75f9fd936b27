"""The picture of a stack's layers: what is drawn of a preview, and that the one on the page is the program's."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from tests.harness import CHECKOUT, copy_of_checkout, thrown_away
from tools.cli.dependency_graph import BLOCK, Box, on_page, picture, reduced

A, B, C, D = (Box("infra/x.py", name) for name in "abcd")


def test_arrows_that_others_imply_are_left_out() -> None:
    assert reduced({(A, B), (B, C), (C, D), (A, C), (A, D)}) == {(A, B), (B, C), (C, D)}
    assert reduced({(A, B), (A, C), (B, D), (C, D)}) == {(A, B), (A, C), (B, D), (C, D)}


def test_two_that_wait_for_each_other_keep_both_arrows() -> None:
    assert reduced({(A, B), (B, A), (B, C), (A, C)}) == {(A, B), (B, A), (B, C)}


def test_boxes_are_named_in_words() -> None:
    names = [
        Box("infra/x.py", each).name for each in ("load_balancer", "Kubeadm._control_plane", "PipelineRun.__init__")
    ]
    assert names == ["load balancer", "control plane", "pipeline run"]


def test_only_the_picture_of_a_page_is_replaced() -> None:
    page = "above\n\n```mermaid\nold\n```\n\n```console\n$ make up\n```\n"
    assert on_page(page, "```mermaid\nnew\n```\n") == page.replace("old", "new")


def _found(output: str) -> dict[str, Any]:
    """What stands in JSON among what a command wrote."""
    found: dict[str, Any] = json.JSONDecoder().raw_decode(output[output.index("{") :])[0]
    return found


def test_the_picture_on_the_page_is_the_programs(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = yaml.safe_load((CHECKOUT / "Pulumi.lab.yaml").read_text())["config"]
    with thrown_away(copy_of_checkout(tmp_path_factory.mktemp("checkout"))) as made:
        code, output = made("picture", tmp_path_factory.mktemp("picture"), settings).pulumi("preview", "--json")
    assert code == 0, output
    (shown,) = BLOCK.findall((CHECKOUT / "docs/stacks.md").read_text())
    drawn = picture(_found(output))
    assert drawn == shown, "docs/stacks.md: run make picture STACK=lab ARGS='--page docs/stacks.md'"
