"""Numbers of training rows at the nodes of LightGBM's and XGBoost's trees, which their converters leave out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class DumpedNode:
    """A node of a tree.

    Args:
        cover: The number of training rows; with XGBoost, the sum of their second derivatives.
        branches: The nodes where the condition is true and false; empty for a leaf.
    """

    cover: float
    branches: tuple[DumpedNode, ...] = ()


def dumped_trees(estimator: Any) -> list[DumpedNode]:
    """Return the roots of the trees of a booster; none for other estimators."""
    if hasattr(estimator, "booster_"):
        return [_of_lightgbm(each["tree_structure"]) for each in estimator.booster_.dump_model()["tree_info"]]
    if hasattr(estimator, "get_booster"):
        import json

        dump = estimator.get_booster().get_dump(with_stats=True, dump_format="json")
        return [_of_xgboost(json.loads(each)) for each in dump]
    return []


def covers_of_nodes(
    trees: Sequence[DumpedNode], branches: Mapping[tuple[int, int], tuple[int, int]]
) -> list[dict[int, float]]:
    """Return the covers by node for each tree.

    Args:
        trees: The roots.
        branches: Of the ONNX model, the nodes where the condition of a node, given as tree and node, is true and false.
    """
    covers = []
    for tree, root in enumerate(trees):
        found: dict[int, float] = defaultdict(float)  # 0 for nodes that the converter added
        pending = [(0, root)]
        while pending:
            number, node = pending.pop()
            found[number] = node.cover
            if node.branches and (tree, number) in branches:
                pending += zip(branches[tree, number], node.branches, strict=True)
        covers.append(found)
    return covers


def _of_lightgbm(node: Mapping[str, Any]) -> DumpedNode:
    if "left_child" not in node:
        return DumpedNode(node.get("leaf_count", 0))
    return DumpedNode(node["internal_count"], (_of_lightgbm(node["left_child"]), _of_lightgbm(node["right_child"])))


def _of_xgboost(node: Mapping[str, Any]) -> DumpedNode:
    children = {each["nodeid"]: each for each in node.get("children", [])}
    branches = (node["yes"], node["no"]) if children else ()
    return DumpedNode(node["cover"], tuple(_of_xgboost(children[each]) for each in branches))
