"""A random forest on a CSV file from outside, deployed if it is good enough; only the defaults are about Iris."""

from typing import NamedTuple

from kfp import dsl

from workloads.components import load

preprocess_data = load("preprocess_data")
train_model = load("train_model")
test_model = load("test_model")
deploy_model = load("deploy_model")
keep_model = load("keep_model")

NAME = "iris-external"


class Outputs(NamedTuple):
    accuracy: float
    deployed: bool
    version: str
    decision: str


@dsl.pipeline(name=NAME, description="Preprocess, train, test; deploy if the accuracy is above the baseline.")
def iris_external(
    tracking_url: str,
    account_url: str = "",
    container: str = "",
    blob: str = "",
    data_url: str = "",
    target: str = "Species",
    baseline: float = 0.7,
    model_name: str = "iris",
    trees: int = 100,
    seed: int = 123,
    run_key: str = "",
) -> Outputs:
    preprocessed = preprocess_data(
        account_url=account_url, container=container, blob=blob, data_url=data_url, target=target
    )
    preprocessed.set_caching_options(False)  # the same address may hold other rows by now
    data = preprocessed.outputs
    model = train_model(train=data["train"], model_name=model_name, trees=trees, seed=seed).outputs["model"]
    tested = test_model(test=data["test"], model=model).outputs
    with dsl.If(tested["Output"] > baseline):
        deployed = deploy_model(
            model=model,
            metrics=tested["metrics"],
            baseline=baseline,
            model_name=model_name,
            tracking_url=tracking_url,
            pipeline=NAME,
            run_key=run_key,
        ).outputs
    with dsl.Else():
        kept = keep_model(accuracy=tested["Output"], baseline=baseline, model_name=model_name).outputs
    return Outputs(
        accuracy=tested["Output"],
        deployed=dsl.OneOf(deployed["deployed"], kept["deployed"]),
        version=dsl.OneOf(deployed["version"], kept["version"]),
        decision=dsl.OneOf(deployed["decision"], kept["decision"]),
    )
