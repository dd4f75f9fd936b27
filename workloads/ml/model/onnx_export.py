"""Export of trained scikit-learn classifiers to ONNX.

The input of each model is `features` float32 [rows, features]. Its outputs are `label` int64 [rows], the index of the
class, and `probabilities` float32 [rows, classes]. Exporting the same classifier again gives the same bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier

OPSET = 21
ML_OPSET = 1


def classifier_to_onnx(classifier: Any) -> bytes:
    """Return the ONNX model of a classifier or scikit-learn pipeline that was fitted on labels 0, 1, 2, ..."""
    model = _convert(classifier)
    names = {model.graph.output[0].name: "label", model.graph.output[1].name: "probabilities"}
    for output in model.graph.output:
        output.name = names[output.name]
    for node in model.graph.node:
        node.output[:] = [names.get(name, name) for name in node.output]
        node.input[:] = [names.get(name, name) for name in node.input]
    return bytes(model.SerializeToString(deterministic=True))


def forest_to_onnx(forest: RandomForestClassifier) -> bytes:
    """Return the ONNX model of a forest, with ties between classes resolved as scikit-learn does.

    The converter sums the share of each tree (1/trees, rounded to float32), so that rounding resolves ties.
    This model sums the votes of the trees, whole numbers for pure leaves, and divides last.
    A tie is then resolved in favour of the first class.
    """
    from onnx import TensorProto, helper

    trees = len(forest.estimators_)
    model = _convert(forest)
    graph = model.graph
    (ensemble,) = graph.node
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


def _convert(classifier: Any) -> Any:
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType

    return convert_sklearn(
        classifier,
        name="classifier",
        initial_types=[("features", FloatTensorType([None, classifier.n_features_in_]))],
        options={"zipmap": False},
        target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET},
    )
