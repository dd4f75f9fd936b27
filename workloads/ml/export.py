"""From a trained classifier of scikit-learn to ONNX.

Each model takes `features` float32 [rows, features] and answers `label` int64 [rows], the index of the class, and
`probabilities` float32 [rows, classes]. The same classifier gives the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier

OPSET = 21
ML_OPSET = 1


def classifier_to_onnx(classifier: Any) -> bytes:
    """Any classifier or scikit-learn pipeline that skl2onnx can convert, fitted on labels 0, 1, 2, ..."""
    model = _converted(classifier)
    names = {model.graph.output[0].name: "label", model.graph.output[1].name: "probabilities"}
    for output in model.graph.output:
        output.name = names[output.name]
    for node in model.graph.node:
        node.output[:] = [names.get(name, name) for name in node.output]
        node.input[:] = [names.get(name, name) for name in node.input]
    return bytes(model.SerializeToString(deterministic=True))


def forest_to_onnx(forest: RandomForestClassifier) -> bytes:
    """A forest, as a model that breaks ties as the forest does.

    The converter sums each tree's share (1/trees, rounded to float32), which breaks ties between classes by rounding.
    Here the trees' votes are summed, whole numbers for pure leaves, and divided last: a tie goes to the first class,
    as in scikit-learn.
    """
    from onnx import TensorProto, helper

    trees = len(forest.estimators_)
    model = _converted(forest)
    graph = model.graph
    (ensemble,) = graph.node
    for attribute in ensemble.attribute:
        if attribute.name == "class_weights":
            attribute.floats[:] = [weight * trees for weight in attribute.floats]
    ensemble.output[:] = ["label_of_rounded_votes", "votes"]
    graph.initializer.append(helper.make_tensor("trees", TensorProto.FLOAT, [], [trees]))
    votes = "votes"
    if forest.n_classes_ == 2:  # the operator then knows the second class's votes only, in the second column
        graph.initializer.append(helper.make_tensor("second", TensorProto.INT64, [1], [1]))
        graph.node.append(helper.make_node("Gather", ["votes", "second"], ["votes_second"], axis=1))
        graph.node.append(helper.make_node("Sub", ["trees", "votes_second"], ["votes_first"]))
        graph.node.append(helper.make_node("Concat", ["votes_first", "votes_second"], ["votes_both"], axis=1))
        votes = "votes_both"
    graph.node.append(helper.make_node("ArgMax", [votes], ["label"], axis=1, keepdims=0))
    graph.node.append(helper.make_node("Div", [votes, "trees"], ["probabilities"]))
    return bytes(model.SerializeToString(deterministic=True))


def _converted(classifier: Any) -> Any:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType

    return convert_sklearn(
        classifier,
        name="classifier",
        initial_types=[("features", FloatTensorType([None, classifier.n_features_in_]))],
        options={"zipmap": False},
        target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET},
    )
