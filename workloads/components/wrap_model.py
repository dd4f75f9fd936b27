"""An ONNX file of any other tool, written as a model directory."""

from kfp.dsl import Dataset, Input, Model, Output

from workloads.components import component


@component
def wrap_model(
    train: Input[Dataset],
    model: Output[Model],
    model_name: str,
    onnx_url: str,
    outputs: dict = {},  # noqa: B006
) -> None:
    """Give an ONNX file the signature of a table, and the input and outputs that the model server needs.

    Args:
        train: The training part as preprocess_data writes it; it describes the features and their ranges.
        model: The model directory.
        model_name: Name of the model in its signature.
        onnx_url: Any fsspec address of the file; it appears in logs, so it must not contain a token.
        outputs: The meaning of the file's outputs: name, holds, classes and threshold.
    """
    from pathlib import Path

    from workloads.ml.data.storage import read_data
    from workloads.ml.model.onnx_wrapper import ForeignOutputs, wrap_onnx

    content, source = read_data("", "", "", onnx_url)
    found = ForeignOutputs.from_mapping(outputs)
    print(f"{wrap_onnx(content, train.path, Path(model.path), model_name, found)} from {source}")
