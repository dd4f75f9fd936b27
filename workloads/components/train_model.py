"""Training of a random forest, or of any other estimator, written as a model directory."""

from kfp.dsl import Dataset, Input, Model, Output

from workloads.components import component


@component
def train_model(
    train: Input[Dataset],
    model: Output[Model],
    model_name: str,
    trees: int = 100,
    seed: int = 123,
    estimator: str = "",
    parameters: dict = {},  # noqa: B006
    dask: dict = {},  # noqa: B006
) -> None:
    """Train a random forest, or the estimator that is named, and write it as ONNX with its signature.

    Args:
        train: The training part as preprocess_data writes it.
        model: The model directory; the metadata of a forest hold the out-of-bag score.
        model_name: Name of the model in its signature.
        trees: Number of trees of the forest.
        seed: Seed of the random choices.
        estimator: Class of scikit-learn, XGBoost or LightGBM, such as LogisticRegression or sklearn.svm.SVR.
        parameters: Arguments of that class.
        dask: Workers that share the training, as the setting dask has them; empty for this process alone.
    """
    from pathlib import Path

    from workloads.ml.errors import StepError

    if estimator:
        from workloads.ml.training.dask_workers import dask_workers
        from workloads.ml.training.named_estimator import train_estimator

        if trees != 100:
            raise StepError(
                f"trees: {trees}; it is for the default forest; write `parameters: {{n_estimators: {trees}}}`"
            )
        with dask_workers(dask) as workers:
            print(train_estimator(train.path, Path(model.path), model_name, estimator, parameters, seed, workers))
    else:
        from workloads.ml.model.forest import train_forest

        if dask:
            raise StepError("dask: it needs an estimator that learns on workers; write `estimator: XGBClassifier`")
        if parameters:
            raise StepError("parameters: they need an estimator; write for example `estimator: RandomForestClassifier`")
        model.metadata["oob_score"] = train_forest(train.path, Path(model.path), model_name, trees, seed)
        print(f"{trees} trees, out-of-bag score {model.metadata['oob_score']:.4f}")
