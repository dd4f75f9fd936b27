"""Training of a random forest, written as a model directory."""

from kfp.dsl import Dataset, Input, Model, Output

from workloads.components import component


@component
def train_model(
    train: Input[Dataset], model: Output[Model], model_name: str, trees: int = 100, seed: int = 123
) -> None:
    """Train a random forest and write it as ONNX with its signature.

    Args:
        train: The training part as preprocess_data writes it.
        model: The model directory; its metadata hold the out-of-bag score.
        model_name: Name of the model in its signature.
        trees: Number of trees.
        seed: Seed of the forest's random choices.
    """
    from pathlib import Path

    from workloads.ml.model.forest import train_forest

    model.metadata["oob_score"] = train_forest(train.path, Path(model.path), model_name, trees, seed)
    print(f"{trees} trees, out-of-bag score {model.metadata['oob_score']:.4f}")
