"""Stack `dev` through `pulumi up`, as a user runs it."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests

from infra.local.free_ports import free_port
from tests.harness import CHECKOUT, Stack, changes, git, touched
from tests.waiting import until
from tools.cli.cluster_access import AccessError
from tools.cli.model_history import history_lines
from workloads.ml.data.table import load_table
from workloads.model_transfer.model_transfer import ACCESS

SETOSA = {"petal_length": 1.4, "petal_width": 0.2, "sepal_length": 5.1, "sepal_width": 3.5}
VIRGINICA = {"petal_length": 6.0, "petal_width": 2.5, "sepal_length": 6.3, "sepal_width": 3.3}


def species(stack: Stack, flower: dict[str, float]) -> str:
    answer = requests.post(stack.outputs()["score_url"], json=flower, timeout=10)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["species"])


def test_first_preview_plans_all_resources_and_creates_none(make_stack: Callable[[str], Stack]) -> None:
    stack = make_stack("preview")
    code, output = stack.pulumi("preview")
    assert code == 0, output
    for planned in ["mlflow", "azurite", "blob-iris.csv", "iris-local-run", "iris-external-run", "batch-predict-run"]:
        assert re.search(rf"\+ .* {planned} +create", output), planned
    assert "iris-server" in output
    assert not stack.data.exists()
    assert stack.outputs() == {}


def test_outputs_after_up_describe_runs_and_model(stack: Stack) -> None:
    outputs = stack.outputs()
    local, external, batch = outputs["iris_local"], outputs["iris_external"], outputs["batch_predict"]
    assert [run["state"] for run in (local, external, batch)] == ["SUCCEEDED"] * 3
    assert 0.9 < local["decision_tree_accuracy"] <= 1
    assert 0.9 < local["logistic_regression_accuracy"] <= 1
    assert 0.9 < external["accuracy"] <= 1
    assert external["deployed"] is True
    assert local["run_id"] != external["run_id"]
    model = outputs["model"]
    assert model == {
        "name": "iris",
        "version": "1",
        "alias": "champion",
        "sha256": model["sha256"],
        "accuracy": external["accuracy"],
    }
    assert re.fullmatch("[0-9a-f]{64}", model["sha256"])


def test_service_with_two_flowers_returns_their_species(stack: Stack) -> None:
    assert species(stack, SETOSA) == "setosa"
    assert species(stack, VIRGINICA) == "virginica"


def test_service_with_all_flowers_agrees_with_a_retrained_forest(stack: Stack) -> None:
    import numpy
    from sklearn.ensemble import RandomForestClassifier

    outputs = stack.outputs()
    rows, labels = load_table(outputs["iris_external"]["artifacts"]["preprocess-data.train"])
    forest = RandomForestClassifier(n_estimators=100, oob_score=True, random_state=123)
    forest.fit(rows, labels)
    with (CHECKOUT / "workloads/data/iris.csv").open() as file:
        flowers = [{name: float(row[name]) for name in SETOSA} for row in csv.DictReader(file)]
    order = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
    trained = forest.predict(numpy.array([[flower[name] for name in order] for flower in flowers], numpy.float32))
    served = requests.post(outputs["score_url"], json=flowers, timeout=10).json()["predictions"]
    assert len(served) == 150
    assert [each["class_index"] for each in served] == trained.tolist()


def test_batch_predict_of_a_file_scores_all_rows(stack: Stack) -> None:
    batch = stack.outputs()["batch_predict"]
    with Path(batch["predictions"].removeprefix("file://")).open() as file:
        predictions = list(csv.DictReader(file))
    with (CHECKOUT / "workloads/data/iris.csv").open() as file:
        flowers = list(csv.DictReader(file))
    assert len(predictions) == batch["rows"] == len(flowers) == 150
    pairs = list(zip(flowers, predictions, strict=True))
    assert all(flower["petal_width"] == row["petal_width"] for flower, row in pairs)
    assert sum(flower["Species"] == row["class"] for flower, row in pairs) >= 145


def test_mlflow_after_a_run_has_its_metrics_parameters_and_source(stack: Stack) -> None:
    from mlflow import MlflowClient

    outputs = stack.outputs()
    client = MlflowClient(outputs["tracking_url"])
    (run,) = client.search_runs(
        [each.experiment_id for each in client.search_experiments()],
        f"tags.pipeline_run = '{outputs['iris_external']['run_id']}'",
    )
    assert run.info.status == "FINISHED"
    assert run.data.metrics["accuracy"] == outputs["iris_external"]["accuracy"]
    assert run.data.params["baseline"] == "0.7"
    commit = git(stack.project, "rev-parse", "HEAD").strip()
    assert run.data.tags["git_commit"].startswith(commit)
    assert re.fullmatch("[0-9a-f]{64}", run.data.tags["package_sha256"])
    files = [file.path for file in client.list_artifacts(run.info.run_id)]
    assert any(file.endswith(".png") for file in _walk(client, run.info.run_id, files)), files
    version = client.get_model_version_by_alias("iris", "champion")
    assert version.tags["sha256"] == outputs["model"]["sha256"]
    assert version.run_id == run.info.run_id


def _walk(client: Any, run_id: str, paths: list[str]) -> list[str]:
    found = []
    for path in paths:
        below = [file.path for file in client.list_artifacts(run_id, path)]
        found += _walk(client, run_id, below) if below else [path]
    return found


def test_logs_of_services_do_not_grow_with_requests(stack: Stack) -> None:
    outputs = stack.outputs()
    blobs = f"http://127.0.0.1:{stack.settings['platform:blobs']['port']}"
    addresses = (f"{outputs['tracking_url']}/health", outputs["score_url"].removesuffix("score"), blobs)
    logs = [stack.data / f"{name}.log" for name in ("mlflow", "iris-server", "azurite")]
    before = [log.stat().st_size for log in logs]
    for address in addresses:
        requests.get(address, timeout=10)
    assert [log.stat().st_size for log in logs] == before


def test_second_up_changes_nothing_and_leaves_the_checkout_clean(stack: Stack) -> None:
    counted = changes(stack.up())
    assert set(counted) == {"unchanged"}, counted
    # The stacks' own settings are the tests' doing.
    assert git(stack.project, "status", "--porcelain", "--", ":!Pulumi.*.yaml") == ""
    # Pulumi writes these beside its state in two goes: killed between them, it leaves a state that cannot be read.
    assert list((stack.scratch / "state").rglob("*.attrs")) == []


def test_run_with_a_wrong_storage_token_fails_without_showing_the_token(stack: Stack) -> None:
    from mlplatform.engine_config import EmbeddedEngineConfig

    from workloads.engines.base import RunRequest
    from workloads.engines.local_engine import EmbeddedEngine

    state = json.loads(stack.pulumi("stack", "export", "--show-secrets")[1])
    outputs = {each["urn"].rpartition("::")[2]: each.get("outputs", {}) for each in state["deployment"]["resources"]}
    token = json.loads(outputs["blob-token"]["token"]["plaintext"])
    assert "sp=rl&" in token  # read and list
    (package,) = (stack.data / "pipelines/iris-external").glob("*.yaml")
    arguments = {
        "account_url": outputs["blob-token"]["account_url"],
        "container": "datasets",
        "blob": "iris.csv",
        "model_name": "iris",
        "tracking_url": stack.outputs()["tracking_url"],
        "run_key": "wrong-token",
    }
    request = RunRequest(
        pipeline="iris-external",
        run_id=f"wrong-token-{time.time_ns()}",
        version_id=str(package),
        arguments=arguments,
        secrets={"AZURE_STORAGE_SAS_TOKEN": token.replace("sig=", "sig=x")},
    )
    result = EmbeddedEngine(EmbeddedEngineConfig(str(stack.data))).run(request)
    assert not result.succeeded
    assert result.failed_step == "preprocess-data"
    assert "refuses the token in AZURE_STORAGE_SAS_TOKEN for the container 'datasets'" in result.error
    assert token.rpartition("sig=")[2] not in Path(result.log).read_text()


def test_refresh_after_a_killed_server_starts_it_again(stack: Stack) -> None:
    for process in stack.processes("model_server"):
        with suppress(psutil.NoSuchProcess):  # a worker ends by itself once its leader is dead
            process.kill()
    code, output = stack.pulumi("up", "--yes", "--skip-preview", "--refresh")
    assert code == 0, output
    assert touched(output) == {"iris-server"}
    assert species(stack, VIRGINICA) == "virginica"


def test_up_with_a_new_pipeline_needs_one_file_and_one_setting(stack: Stack) -> None:
    from sklearn.datasets import load_wine

    wine = load_wine(as_frame=True)
    frame = wine.data.rename(columns=lambda name: name.replace("/", "_")).assign(
        cultivar=[f"cultivar {number}" for number in wine.target]
    )
    data = stack.scratch / "wine.csv"
    frame.to_csv(data, index=False)
    page = (CHECKOUT / "docs/pipelines.md").read_text()
    file = stack.project / "workloads/pipelines/wine.py"
    file.write_text(page.split("```python\n")[1].split("```")[0])
    stack.settings["workloads:pipelines"]["wine"] = {
        "serve": True,
        "port": free_port(),
        "gate": 0.9,
        "parameters": {"data_url": str(data)},
    }
    try:
        created = touched(stack.up())
        assert created == {"wine-package", "wine-version", "wine-run", "wine-champion", "wine-server"}
        row = {name: float(value) for name, value in frame.drop(columns="cultivar").iloc[0].items()}
        service = stack.outputs()["wine_service"]
        answer = requests.post(service["score_url"], json=row, timeout=10)
        assert answer.json()["cultivar"] == "cultivar 0", answer.text
        assert "proline" in requests.get(service["score_url"].removesuffix("score"), timeout=10).text
    finally:
        file.unlink()


def test_up_with_an_unregistered_version_names_the_registered_ones(unsettled: Stack) -> None:
    unsettled.settings["workloads:pipelines"]["iris-external"]["version"] = 99
    code, output = unsettled.pulumi("up", "--yes", "--skip-preview")
    assert code != 0
    assert "workloads:pipelines.iris-external.version" in output
    assert "no version 99" in output
    assert species(unsettled, SETOSA) == "setosa"


def test_up_with_a_taken_port_names_the_process(unsettled: Stack) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", "import socket, time; s = socket.create_server(('127.0.0.1', 0));"
         "print(s.getsockname()[1], flush=True); time.sleep(300)"],
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    try:
        assert holder.stdout
        port = int(holder.stdout.readline())
        unsettled.settings["serving:port"] = port
        code, output = unsettled.pulumi("up", "--yes", "--skip-preview")
        assert code != 0
        assert f"port {port} (serving:port)" in output
        assert f"process {holder.pid}" in output
    finally:
        holder.kill()
        holder.wait()


def test_up_with_a_failing_step_names_the_step(unsettled: Stack) -> None:
    unsettled.settings["workloads:pipelines"]["iris-external"]["parameters"]["blob"] = "no-such.csv"
    code, output = unsettled.pulumi("up", "--yes", "--skip-preview")
    assert code != 0
    assert "pipeline iris-external failed in step preprocess-data" in output
    assert "no-such.csv" in output
    log = re.search(r"The whole log: (\S+)", output)
    assert log
    assert "no-such.csv" in Path(log[1]).read_text()
    assert 'File "' not in output, "frames of the program are no help to its user"


def test_preview_with_a_wrong_parameter_names_it(unsettled: Stack) -> None:
    unsettled.settings["workloads:pipelines"]["iris-local"]["parameters"] = {"sede": 1}
    code, output = unsettled.pulumi("preview")
    assert code != 0
    assert "workloads:pipelines.iris-local.parameters: the pipeline has no parameter sede" in output
    assert "seed" in output


def test_preview_with_a_stricter_gate_plans_the_run_that_uses_the_model(unsettled: Stack) -> None:
    unsettled.settings["workloads:pipelines"]["iris-external"]["gate"] = 0.99
    code, output = unsettled.pulumi("preview")
    assert code == 0, output
    for planned in ("iris-external-run", "iris-champion", "iris-server", "batch-predict-run"):
        assert re.search(rf"~ .* {planned} +update", output), planned


def test_up_with_a_changed_parameter_runs_its_pipeline_only_and_refuses_a_second_up(stack: Stack) -> None:
    before = stack.outputs()
    stack.settings["workloads:pipelines"]["iris-local"]["parameters"] = {"seed": 7}
    up = stack.command("up", "--yes", "--skip-preview")
    (runner, *_) = until(lambda: stack.processes("workloads.engines.kfp_runner"))
    runner.suspend()
    (lock,) = (stack.scratch / "state/.pulumi/locks").rglob("*.json")
    os.utime(lock, (0, 0))  # as if the clock had been set forward
    code, output = stack.make("up")
    assert code != 0
    assert f"another Pulumi is working on the stack {stack.name}: process {up.pid} of " in output
    code, output = stack.pulumi("up", "--yes", "--skip-preview")
    assert code != 0
    assert "the stack is currently locked by 1 lock(s)" in output
    assert lock.exists()
    runner.resume()
    output, _ = up.communicate()
    assert up.returncode == 0, output
    assert touched(output) == {"iris-local-run"}
    assert re.search(r"iris-local-run .*decision-tree: SUCCEEDED in [\d.]+ s", output), output
    stack.settle()
    after = stack.outputs()
    assert after["iris_local"]["run_id"] != before["iris_local"]["run_id"]
    assert after["iris_external"] == before["iris_external"]
    assert after["model"] == before["model"]


def test_up_after_a_killed_up_completes_the_run_and_its_gate_keeps_the_old_model(unsettled: Stack) -> None:
    before = unsettled.outputs()
    (server,) = [p.pid for p in unsettled.processes("model_server") if p.pid == os.getsid(p.pid)]
    unsettled.settings["workloads:pipelines"]["iris-external"]["gate"] = 0.999
    up = unsettled.command("up", "--yes", "--skip-preview")
    until(lambda: unsettled.processes("workloads.engines.kfp_runner"))
    up.send_signal(signal.SIGKILL)
    up.communicate()
    until(lambda: not unsettled.processes("workloads.engines.kfp_runner"))
    code, output = unsettled.pulumi("cancel", "--yes")
    assert code == 0, output
    unsettled.up()
    after = unsettled.outputs()
    assert after["iris_external"]["run_id"] != before["iris_external"]["run_id"]
    assert after["iris_external"]["state"] == "SUCCEEDED"
    assert after["iris_external"]["deployed"] is False
    assert "0.999" in after["iris_external"]["decision"]
    assert after["model"] == before["model"]
    assert psutil.pid_exists(server)
    assert species(unsettled, SETOSA) == "setosa"


def test_up_with_a_pinned_version_rolls_back(unsettled: Stack) -> None:
    first = unsettled.outputs()["model"]
    del unsettled.settings["workloads:pipelines"]["batch-predict"]  # each other champion would run it again
    external = unsettled.settings["workloads:pipelines"]["iris-external"]
    external["parameters"]["trees"] = 10
    shown = unsettled.make_on_terminal("up")
    assert re.search(r"\x1b\[2Kiris-external [a-z]+-(data|model): \d+ s of about \d+ s", shown), shown
    second = unsettled.outputs()["model"]
    assert int(second["version"]) > int(first["version"])
    assert second["sha256"] != first["sha256"]
    external["version"] = int(first["version"])
    unsettled.up()
    assert unsettled.outputs()["model"] == first
    served = requests.post(unsettled.outputs()["score_url"], json=SETOSA, timeout=10).json()
    assert str(served["model_version"]) == first["version"]
    text = "\n".join(history_lines(unsettled.outputs("--show-secrets")[ACCESS], "iris", None))
    assert re.findall(r"UTC  version (\d+)", text)[-2:] == [second["version"], first["version"]]
    assert "workloads:pipelines.iris-external.version, by " in text
    assert first["sha256"] in text
    assert "trees=10" in text


def test_server_with_follow_loads_the_new_champion(unsettled: Stack) -> None:
    from mlflow import MlflowClient

    del unsettled.settings["workloads:pipelines"]["batch-predict"]
    external = unsettled.settings["workloads:pipelines"]["iris-external"]
    external["parameters"]["trees"] = 10
    unsettled.settings["serving:follow"] = True
    unsettled.up()
    unsettled.settle()
    outputs = unsettled.outputs()

    def served() -> str:
        return str(requests.post(outputs["score_url"], json=SETOSA, timeout=10).json()["model_version"])

    second = outputs["model"]["version"]
    until(lambda: served() == second)
    MlflowClient(outputs["tracking_url"]).set_registered_model_alias("iris", "champion", "1")
    until(lambda: served() == "1")


def test_backup_has_database_files_blobs_state_and_predictions(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "restic"
    program.parent.mkdir()
    shutil.copy(CHECKOUT / "tests" / "restic_stand_in.py", program)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    backups = {"target": str(tmp_path / "backups"), "password": "word-of-backups"}
    settings = stack.settings | {"platform:backup": backups}
    code, output = stack.make("backup", settings)
    assert code == 0, output
    data, state = sorted(file.with_name("content") for file in (tmp_path / "backups").glob("*/snapshot.json"))
    manifest = json.loads((data / "manifest.json").read_text())
    assert set(manifest["versions"]) >= {"iris/1"}
    assert len(manifest["runs"]) >= 3
    assert "setosa" in manifest["predictions"]["iris"]["response"]
    index = json.loads((data / "container.json").read_text())
    blobs = {blob["name"]: data / "container" / blob["file"] for blob in index}
    assert blobs["iris.csv"].read_bytes() == (CHECKOUT / "workloads/data/iris.csv").read_bytes()
    assert list((data / "mlflow" / "artifacts").rglob("model.onnx"))
    with sqlite3.connect(data / "mlflow" / "mlflow.db") as database:
        assert database.execute("select count(*) from runs").fetchone()[0] == len(manifest["runs"])
    resources = json.loads((state / "state.json").read_text())["deployment"]["deployment"]["resources"]
    assert any(each["urn"].endswith("iris-champion") for each in resources)
    assert not (stack.data / "backup").exists()
    # A stack with data is never overwritten.
    code, output = stack.make("restore", settings)
    assert code != 0
    assert "OVERWRITE=yes" in output


def test_history_at_a_time_before_the_stack_or_of_a_missing_model_says_so(stack: Stack) -> None:
    access = stack.outputs("--show-secrets")[ACCESS]
    assert list(history_lines(access, "iris", datetime(2020, 1, 1, tzinfo=UTC))) == [
        "Model iris",
        "  no champion at 2020-01-01 00:00:00 UTC is recorded",
    ]
    with pytest.raises(AccessError, match="--model roses: MLflow has iris"):
        list(history_lines(access, "roses", None))


def test_secrets_after_up_are_never_in_clear_text(unsettled: Stack) -> None:
    code, state = unsettled.pulumi("stack", "export", "--show-secrets")
    assert code == 0
    resources = json.loads(state[state.index("{") :])["deployment"]["resources"]
    (key,) = [r["outputs"]["key"]["plaintext"] for r in resources if r["type"].endswith("AccountKey")]
    secret = json.loads(key)
    assert len(secret) == 88
    places = {f"output of command {n}": text for n, text in enumerate(unsettled.written)}
    for folder in (unsettled.scratch, unsettled.data, unsettled.project / ".stacks"):
        for file in folder.rglob("*"):
            if file.is_file() and not file.is_relative_to(unsettled.data / "azurite"):
                places[str(file)] = file.read_bytes().decode("latin-1")
    for process in psutil.process_iter(["cmdline"]):
        places[f"arguments of process {process.pid}"] = " ".join(process.info["cmdline"] or [])
    assert any("iris-external" in place for place in places)
    assert [place for place, text in places.items() if secret in text] == []


def test_destroy_leaves_no_process_no_port_and_no_file(unsettled: Stack) -> None:
    assert len(unsettled.processes()) >= 3
    before = set(git(unsettled.project, "status", "--porcelain", "--ignored").splitlines())
    code, output = unsettled.pulumi("destroy", "--yes")
    unsettled.changed = True
    assert code == 0, output
    assert unsettled.processes() == []
    settings = unsettled.settings
    for port in (settings["platform:tracking"]["port"], settings["platform:blobs"]["port"], settings["serving:port"]):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    left = [file.name for file in unsettled.data.rglob("*") if file.is_file() and "runs" not in file.parts]
    assert [name for name in left if not name.endswith(".log")] == []
    assert set(git(unsettled.project, "status", "--porcelain", "--ignored").splitlines()) == before
