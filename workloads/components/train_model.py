"""A random forest as a model directory."""

from kfp.dsl import Dataset, Input, Model, Output

from workloads.components import component


@component
def train_model(
    train: Input[Dataset], model: Output[Model], model_name: str, trees: int = 100, seed: int = 123
) -> None:
    """Trains a random forest and writes it as ONNX with its signature.

    Args:
        train: The training part as preprocess_data writes it.
        model: The model directory; its metadata hold the out-of-bag score and the importance of each feature.
        model_name: Stands in the signature.
        trees: Of the forest.
        seed: Of the forest.
    """
    from pathlib import Path

    from workloads.ml.metadata import plain
    from workloads.ml.training import train_forest

    model.metadata.update(train_forest(train.path, plain(train.metadata), Path(model.path), model_name, trees, seed))
    print(f"{trees} trees, out-of-bag score {model.metadata['oob_score']:.4f}")
