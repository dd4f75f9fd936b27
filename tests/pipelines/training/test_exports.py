"""Exports: every exported model predicts as the trained one, or is refused by name before the champion changes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kfp import dsl
from kfp.dsl import Dataset, Input, Model, Output
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

from tests.pipelines.conftest import IRIS, run
from tests.pipelines.models import constant_model
from workloads.components import component, load_component
from workloads.components.blocks.gated_deployment import DeploymentOutputs, deploy_if_better
from workloads.ml import model_registry, tracking
from workloads.ml.errors import StepError
from workloads.ml.model import export_check
from workloads.ml.model.classifier import export_classifier
from workloads.ml.model.model_directory import load_model_directory, save_model_directory, sha256_hex
from workloads.ml.model.onnx_export import classifier_to_onnx

from .test_model import METRICS, train_iris

preprocess_data = load_component("preprocess_data")


def fitted(classifier: Any, loader: Any = load_breast_cancer) -> tuple[Any, Any]:
    """Return the classifier, trained behind a scaler, and its training rows."""
    rows, labels = loader(return_X_y=True)
    rows = rows.astype(np.float32)
    return make_pipeline(StandardScaler(), classifier).fit(rows, labels), rows


@pytest.mark.parametrize("loader", [load_iris, load_breast_cancer])
@pytest.mark.parametrize(
    "classifier",
    [
        LogisticRegression(),
        CalibratedClassifierCV(RidgeClassifier()),
        GaussianNB(),
        DecisionTreeClassifier(random_state=0),
        GradientBoostingClassifier(n_estimators=20, random_state=0),
        RandomForestClassifier(20, random_state=0),
    ],
    ids=lambda classifier: type(classifier).__name__,
)
def test_export_classifier_that_predicts_alike_is_accepted(classifier: Any, loader: Any) -> None:
    assert export_classifier(*fitted(classifier, loader))


@pytest.mark.parametrize("classifier", [SVC(), LinearSVC(), RidgeClassifier()], ids=lambda each: type(each).__name__)
def test_export_classifier_without_probabilities_raises_error_with_remedy(classifier: Any) -> None:
    name = type(classifier).__name__
    with pytest.raises(StepError, match=rf"^{name} cannot be served: it has no predict_proba.*Calibrated.*{name}"):
        export_classifier(*fitted(classifier))


def test_export_regressor_raises_error() -> None:
    with pytest.raises(StepError, match=r"^RandomForestRegressor cannot be served: it is not a classifier"):
        export_classifier(*fitted(RandomForestRegressor(3)))


class Constant(ClassifierMixin, BaseEstimator):
    """A classifier that the converter does not know."""

    def fit(self, rows: Any, labels: Any) -> Any:
        self.classes_, self.n_features_in_ = np.unique(labels), rows.shape[1]
        return self

    def predict_proba(self, rows: Any) -> Any:
        return np.full((len(rows), len(self.classes_)), 1 / len(self.classes_))

    def predict(self, rows: Any) -> Any:
        return np.zeros(len(rows), dtype=int)


def test_export_of_unknown_estimator_raises_error_with_name() -> None:
    rows, labels = load_iris(return_X_y=True)
    with pytest.raises(StepError, match=r"^Constant cannot be exported to ONNX: "):
        export_classifier(Constant().fit(rows, labels), rows)


def test_export_of_classifier_with_other_labels_raises_error() -> None:
    rows, labels = load_iris(return_X_y=True)
    with pytest.raises(StepError, match="fit it on the class indices"):
        export_classifier(LogisticRegression().fit(rows, labels + 1), rows)


def test_export_with_other_probabilities_raises_error_with_name_and_values() -> None:
    with pytest.raises(StepError) as refused:
        export_classifier(*fitted(LinearDiscriminantAnalysis()))
    assert "LinearDiscriminantAnalysis cannot be exported" in str(refused.value)
    assert "at most 0.0001 of difference is allowed" in str(refused.value)


def test_export_with_labels_of_other_shape_raises_error() -> None:
    with pytest.raises(
        StepError, match=r"QuadraticDiscriminantAnalysis cannot be exported: .* returns labels of shape"
    ):
        export_classifier(*fitted(QuadraticDiscriminantAnalysis(reg_param=0.01), load_iris))


def test_check_export_finds_difference_near_the_boundary_only() -> None:
    rows, labels = load_iris(return_X_y=True)
    rows, labels = rows[labels < 2].astype(np.float32), labels[labels < 2]
    trained = DecisionTreeClassifier(random_state=0).fit(rows, labels)
    moved = DecisionTreeClassifier(random_state=0).fit(rows, labels)
    moved.tree_.threshold[0] += 0.05  # between the classes: every training row keeps its class
    assert (trained.predict(rows) == moved.predict(rows)).all()
    export_check.check_export("tree", trained, classifier_to_onnx(trained), rows)
    with pytest.raises(StepError, match="tree cannot be exported"):
        export_check.check_export("tree", trained, classifier_to_onnx(moved), rows)


def test_check_export_with_another_class_of_equal_probabilities_names_both_classes() -> None:
    class Contrary(Constant):
        def predict_proba(self, rows: Any) -> Any:
            return np.tile([0.25, 0.75], (len(rows), 1))

    rows = load_iris(return_X_y=True)[0].astype(np.float32)
    contrary = Contrary().fit(rows, np.arange(len(rows)) % 2)
    exported = constant_model([0.25, 0.75])
    export_check.check_export("contrary", contrary, exported, rows)
    contrary.predict = lambda each: np.ones(len(each), dtype=int)
    with pytest.raises(StepError, match=r"predicts class 0 with probability 0\.25.*, the trained one class 1 with 0\."):
        export_check.check_export("contrary", contrary, exported, rows)


@pytest.mark.parametrize(
    ("probabilities", "message"),
    [([0.2, 0.3, 0.4], "does not add up to 1"), ([0.5, 0.5], "one column for each of 3 classes")],
)
def test_register_model_with_wrong_outputs_keeps_champion(
    mlflow_url: str, tmp_path: Path, probabilities: list[float], message: str
) -> None:
    name = f"kept-{len(probabilities)}"
    good = load_model_directory(train_iris(tmp_path, name=name))
    model_registry.register(mlflow_url, tmp_path / "model", name, METRICS, "some-pipeline", "good")
    signature = good.signature | {"sha256": sha256_hex(constant_model(probabilities))}
    save_model_directory(tmp_path / "bad", constant_model(probabilities), signature)
    with pytest.raises(StepError, match=f"model {name} cannot be served: .*{message}"):
        model_registry.register(mlflow_url, tmp_path / "bad", name, METRICS, "some-pipeline", "bad")
    mlflow = tracking.client(mlflow_url)
    assert mlflow.get_model_version_by_alias(name, "champion").version == "1"
    assert len(mlflow.search_model_versions(f"name = '{name}'")) == 1


@component
def train_by_name(train: Input[Dataset], model: Output[Model], model_name: str, which: str) -> None:
    """Train a classifier that is chosen by name."""
    from pathlib import Path

    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.linear_model import LogisticRegression, RidgeClassifier
    from sklearn.svm import SVC

    from workloads.ml.data import table
    from workloads.ml.data.table import load_table
    from workloads.ml.model.classifier import save_classifier

    classifiers = {
        "lda": LinearDiscriminantAnalysis(),
        "logistic": LogisticRegression(max_iter=1000),
        "ridge": RidgeClassifier(),
        "svc": SVC(),
    }
    rows, labels = load_table(train.path)
    classifier = classifiers[which].fit(rows, labels)
    save_classifier(classifier, rows, table.load_description(train.path), Path(model.path), model_name)


@dsl.pipeline(name="estimator")
def estimator(data_url: str, tracking_url: str, target: str, which: str, run_key: str = "") -> DeploymentOutputs:
    data = preprocess_data(data_url=data_url, target=target).outputs
    model = train_by_name(train=data["train"], model_name="estimator", which=which).outputs["model"]
    gate = {"baseline": 0.1, "model_name": "estimator", "tracking_url": tracking_url, "run_key": run_key}
    return deploy_if_better(model, data["test"], pipeline="estimator", **gate)


@pytest.fixture(scope="module")
def two_classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write two overlapping classes of Iris as CSV. Returns the file."""
    header, *lines = IRIS.read_text().splitlines()
    file = tmp_path_factory.mktemp("data") / "two.csv"
    file.write_text("\n".join([header, *(line for line in lines if "setosa" not in line)]) + "\n")
    return file


def test_pipeline_with_refused_estimator_keeps_champion(mlflow_url: str, two_classes: Path, tmp_path: Path) -> None:
    arguments = {"tracking_url": mlflow_url, "data_url": two_classes.as_uri(), "target": "Species"}
    first = run(tmp_path / "logistic", estimator, which="logistic", **arguments)
    assert first.outputs["deployed"], first.result["error"]
    for which, message in {
        "ridge": "RidgeClassifier cannot be served: it has no predict_proba",
        "svc": "SVC cannot be served: it has no predict_proba",
        "lda": "LinearDiscriminantAnalysis cannot be exported",
    }.items():
        refused = run(tmp_path / which, estimator, which=which, **arguments)
        assert refused.result["failed_step"] == "train-by-name"
        assert message in refused.result["error"].splitlines()[-1]
    mlflow = tracking.client(mlflow_url)
    assert mlflow.get_model_version_by_alias("estimator", "champion").version == "1"
    assert len(mlflow.search_model_versions("name = 'estimator'")) == 1
