"""Export of trained estimators to ONNX.

The input of each model is `features` float32 [rows, features]. The outputs of a classifier are `label` int64 [rows],
the index of the class, and `probabilities` float32 [rows, classes]. The output of a regressor is `value` float32
[rows, targets]. Those of a detector are `anomaly` bool [rows] and `score` float32 [rows]. Exporting the same estimator
again gives the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workloads.ml.model.booster_covers import covers_of_nodes, dumped_trees

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier

OPSET = 21
ML_OPSET = 1
DETECTOR_ML_OPSET = 3
"""An isolation forest needs a newer version than the other estimators."""


def classifier_to_onnx(classifier: Any, *, missing: bool = False) -> bytes:
    """Return the ONNX model of a classifier or scikit-learn pipeline that was fitted on labels 0, 1, 2, ...

    Args:
        classifier: The trained classifier.
        missing: True if values of a row may be NaN.
    """
    model = _convert(classifier, "classifier", {"zipmap": False})
    if missing:
        _follow_missing(model, classifier)
    names = {model.graph.output[0].name: "label", model.graph.output[1].name: "probabilities"}
    for output in model.graph.output:
        output.name = names[output.name]
    for node in model.graph.node:
        node.output[:] = [names.get(name, name) for name in node.output]
        node.input[:] = [names.get(name, name) for name in node.input]
    return bytes(model.SerializeToString(deterministic=True))


def regressor_to_onnx(regressor: Any, targets: int, *, missing: bool = False) -> bytes:
    """Return the ONNX model of a regressor or scikit-learn pipeline.

    Args:
        regressor: The trained regressor.
        targets: Number of its targets.
        missing: True if values of a row may be NaN.
    """
    from onnx import TensorProto, helper

    model = _convert(regressor, "regressor", None)
    if missing:
        _follow_missing(model, regressor)
    graph = model.graph
    # Some converters return [rows] for a single target.
    graph.initializer.append(helper.make_tensor("value_shape", TensorProto.INT64, [2], [-1, targets]))
    graph.node.append(helper.make_node("Reshape", [graph.output[0].name, "value_shape"], ["value"]))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("value", TensorProto.FLOAT, [None, targets]))
    return bytes(model.SerializeToString(deterministic=True))


def detector_to_onnx(detector: Any) -> bytes:
    """Return the ONNX model of an outlier detector or scikit-learn pipeline.

    Its outputs are `anomaly` bool [rows] and `score` float32 [rows], the negative of scikit-learn's decision function:
    a row is an anomaly if its score is above 0.
    """
    from onnx import TensorProto, helper

    model = _convert(detector, "detector", None, DETECTOR_ML_OPSET)
    graph = model.graph
    graph.initializer.append(helper.make_tensor("score_shape", TensorProto.INT64, [1], [-1]))
    graph.initializer.append(helper.make_tensor("threshold", TensorProto.FLOAT, [], [0]))
    graph.node.append(helper.make_node("Neg", [graph.output[1].name], ["negative"]))
    graph.node.append(helper.make_node("Reshape", ["negative", "score_shape"], ["score"]))
    graph.node.append(helper.make_node("Greater", ["score", "threshold"], ["anomaly"]))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("anomaly", TensorProto.BOOL, [None]))
    graph.output.append(helper.make_tensor_value_info("score", TensorProto.FLOAT, [None]))
    return bytes(model.SerializeToString(deterministic=True))


def forest_to_onnx(forest: RandomForestClassifier, *, missing: bool = False) -> bytes:
    """Return the ONNX model of a forest, with ties between classes resolved as scikit-learn does.

    The converter sums the share of each tree (1/trees, rounded to float32), so that rounding resolves ties.
    This model sums the votes of the trees, whole numbers for pure leaves, and divides last.
    A tie is then resolved in favour of the first class.
    """
    from onnx import TensorProto, helper

    trees = len(forest.estimators_)
    model = _convert(forest, "classifier", {"zipmap": False})
    if missing:
        _follow_missing(model, forest)
    graph = model.graph
    ensemble = graph.node[-1]
    for attribute in ensemble.attribute:
        if attribute.name == "class_weights":
            attribute.floats[:] = [weight * trees for weight in attribute.floats]
    ensemble.output[:] = ["label_of_rounded_votes", "votes"]
    graph.initializer.append(helper.make_tensor("trees", TensorProto.FLOAT, [], [trees]))
    votes = "votes"
    if forest.n_classes_ == 2:  # the operator then returns the votes for the second class only, in the second column
        graph.initializer.append(helper.make_tensor("second", TensorProto.INT64, [1], [1]))
        graph.node.append(helper.make_node("Gather", ["votes", "second"], ["votes_second"], axis=1))
        graph.node.append(helper.make_node("Sub", ["trees", "votes_second"], ["votes_first"]))
        graph.node.append(helper.make_node("Concat", ["votes_first", "votes_second"], ["votes_both"], axis=1))
        votes = "votes_both"
    graph.node.append(helper.make_node("ArgMax", [votes], ["label"], axis=1, keepdims=0))
    graph.node.append(helper.make_node("Div", [votes, "trees"], ["probabilities"]))
    return bytes(model.SerializeToString(deterministic=True))


def _convert(estimator: Any, name: str, options: dict[str, Any] | None, ml_opset: int = ML_OPSET) -> Any:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType

    from workloads.ml.model.onnx_converters import register_converters

    last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    register_converters(type(last).__module__)
    model = convert_sklearn(
        estimator,
        name=name,
        initial_types=[("features", FloatTensorType([None, estimator.n_features_in_]))],
        options=options,
        target_opset={"": OPSET, "ai.onnx.ml": ml_opset},
    )
    _record_covers(model, last)
    return model


def _record_covers(model: Any, estimator: Any) -> None:
    """Record how many training rows reached each node of trees: contributions need these numbers.

    The attribute is ONNX's for the popularity of a node, which no prediction depends on.
    """
    from onnx import helper

    ensembles = [node for node in model.graph.node if node.op_type.startswith("TreeEnsemble")]
    if len(ensembles) != 1:
        return
    (ensemble,) = ensembles
    attributes = {attribute.name: attribute for attribute in ensemble.attribute}
    nodes = list(zip(attributes["nodes_treeids"].ints, attributes["nodes_nodeids"].ints, strict=True))
    covers: list[Any]
    if hasattr(estimator, "_predictors"):  # histogram-based boosting
        covers = [tree.nodes["count"] for trees in estimator._predictors for tree in trees]
    elif dumped := dumped_trees(estimator):
        branches = zip(attributes["nodes_truenodeids"].ints, attributes["nodes_falsenodeids"].ints, strict=True)
        covers = covers_of_nodes(dumped, dict(zip(nodes, branches, strict=True)))
    else:
        covers = [getattr(tree, "weighted_n_node_samples", None) for tree in _trees(estimator)]
    if any(each is None for each in covers):
        return
    if "nodes_hitrates" in attributes:
        ensemble.attribute.remove(attributes["nodes_hitrates"])
    rates = [float(covers[tree][node]) for tree, node in nodes]
    ensemble.attribute.append(helper.make_attribute("nodes_hitrates", rates))


def _trees(estimator: Any) -> list[Any]:
    """Return scikit-learn's trees of an estimator in the converter's order, with None for what is none."""
    estimators = getattr(estimator, "estimators_", [estimator])
    flat = estimators.ravel() if hasattr(estimators, "ravel") else estimators
    return [getattr(each, "tree_", None) for each in flat]


def _follow_missing(model: Any, estimator: Any) -> None:
    """Send missing values down the branches that scikit-learn's trees learned: the converter leaves that out."""
    from onnx import helper

    trees = _trees(estimator)
    ensembles = [node for node in model.graph.node if node.op_type.startswith("TreeEnsemble")]
    if not all(trees) or len(ensembles) != 1:
        return
    attributes = {attribute.name: attribute for attribute in ensembles[0].attribute}
    nodes = zip(attributes["nodes_treeids"].ints, attributes["nodes_nodeids"].ints, strict=True)
    tracks = [int(trees[tree].missing_go_to_left[node]) for tree, node in nodes]
    attributes["nodes_missing_value_tracks_true"].ints[:] = tracks
    # The model server's QuickScorer knows no missing values. It leaves a graph that begins otherwise to ONNX Runtime.
    ensembles[0].input[:] = ["features_with_missing"]
    model.graph.node.insert(0, helper.make_node("Identity", ["features"], ["features_with_missing"]))
