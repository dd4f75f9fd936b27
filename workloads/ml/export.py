"""From a trained forest to ONNX that answers exactly as the forest does."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestClassifier

OPSET = 21
ML_OPSET = 1


def forest_to_onnx(forest: RandomForestClassifier) -> bytes:
    """The forest as an ONNX model: float32 [rows, features] to `label` int64 [rows] and `probabilities` [rows, classes].

    The same forest gives the same bytes. The converter sums each tree's share (1/trees, rounded to float32), which
    breaks ties between classes by rounding. Here the trees' votes are summed, whole numbers for pure leaves, and
    divided last: a tie goes to the first class, as in scikit-learn.
    """
    from onnx import TensorProto, helper
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType

    trees = len(forest.estimators_)
    model = convert_sklearn(
        forest,
        name="forest",
        initial_types=[("features", FloatTensorType([None, forest.n_features_in_]))],
        options={"zipmap": False},
        target_opset={"": OPSET, "ai.onnx.ml": ML_OPSET},
    )
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
    return model.SerializeToString(deterministic=True)
