"""A regression from the pages: trained, compared with its champion, gated, registered and recorded."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from settings.metrics import metrics_of
from settings.paths import PROJECT
from tests.pipelines.conftest import run
from tests.pipelines.models import save_linear
from workloads.ml import model_registry, tracking


def load_example(folder: Path, name: str) -> Any:
    """Return the pipeline `name` that docs/pipelines.md shows."""
    blocks = (PROJECT / "docs/pipelines.md").read_text().split("```python\n")[1:]
    (source,) = (block.split("```")[0] for block in blocks if f'@dsl.pipeline(name="{name}")' in block)
    (folder / f"{name}.py").write_text(source)
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)


def test_regression_pipeline_replaces_a_worse_champion(tmp_path: Path, mlflow_url: str) -> None:
    rows = np.random.default_rng(0).uniform(-1, 1, (200, 2)).astype(np.float32)
    lines = [f"{a:.5f},{b:.5f},{3 * a + 10:.5f}" for a, b in rows]
    data = tmp_path / "prices.csv"
    data.write_text("\n".join(["a,b,price", *lines]) + "\n")
    champion = save_linear(tmp_path / "champion", [0.0, 0.0], offset=10, target="price")
    metrics = {"rmse": 2.0, "mae": 2.0, "r2": 0.0}
    assert model_registry.register(mlflow_url, champion, "prices", metrics, "prices", "old") == "1"
    registered = tracking.client(mlflow_url).get_model_version("prices", "1")
    assert (registered.tags["rmse"], "accuracy" in registered.tags) == ("2.0", False)

    gate = [{"metric": "rmse", "below": 1.0, "better_than_champion": True}, {"metric": "r2", "above": 0.5}]
    arguments = {"data_url": data.as_uri(), "tracking_url": mlflow_url, "model_name": "prices", "run_key": "prices-2"}
    ended = run(tmp_path / "run", load_example(tmp_path, "prices"), gate=gate, **arguments)

    assert ended.result["state"] == "SUCCEEDED", ended.log
    rmse = ended.outputs["rmse"]
    assert set(ended.outputs) == {"rmse", "deployed", "version", "decision"}
    assert ended.outputs["decision"].startswith(f"rmse {rmse:.3g} < baseline 1, rmse {rmse:.3g} < champion ")
    measured = ended.artifact("test-model", "metrics")["metadata"]
    assert {f"champion_{name}" for name in metrics_of("regression")} < set(measured)
    assert measured["champion_rmse"] > rmse == measured["rmse"]
    changed = f"{measured['changed_answers']:.0f} of the champion's answers on the test rows change"
    assert ended.outputs["decision"].endswith(f": prices version 2 is champion; {changed}")
    assert measured["changed_answers"] > 0
    assert "answers differ from those of the champion, prices version 1" in ended.log

    result = SimpleNamespace(succeeded=True, **ended.result)
    recorded = tracking.client(mlflow_url).get_run(tracking.record(mlflow_url, "prices", "prices-2", {}, result, {}))
    assert recorded.data.metrics["rmse"] == rmse
    version = tracking.client(mlflow_url).get_model_version_by_alias("prices", "champion")
    assert (version.version, version.run_id, version.tags["rmse"]) == ("2", recorded.info.run_id, str(rmse))
    signature = model_registry.fetch(mlflow_url, "prices", "2").signature
    assert signature["metrics"] == {name: measured[name] for name in ("rmse", "mae", "r2")}
    shown = {file.path for file in tracking.client(mlflow_url).list_artifacts(version.run_id, "test-model/plots")}
    assert "test-model/plots/residuals.png" in shown
