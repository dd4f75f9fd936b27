"""The rules of Prometheus, evaluated by promtool: each alert with a case that fires it and similar quiet cases."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from mlplatform.monitoring.prometheus import rules_and_page
from mlplatform.monitoring.scrape_config import configuration

from settings.paths import PROJECT
from tests.unit.platform.test_prediction_paths import prediction_paths
from tools.bootstrap import paths
from tools.cli import prometheus_query
from workloads.ml import drift

INDEX = paths.cache_directory() / "bundle" / "bundle.json"
BUILT = json.loads(INDEX.read_text())["binaries"].get("prometheus/promtool") if INDEX.is_file() else None
PROMTOOL = shutil.which("promtool") or (str(INDEX.parent / BUILT["path"]) if BUILT else None)
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="no promtool here; `make bundle ARGS=prometheus` builds it"
)

RULES = {name: text for name, text in rules_and_page().items() if name.endswith(".rules.yaml")}
NODE = 'kube_node_status_condition{node="worker-1",condition="Ready",status="true"}'
FREE = 'node_filesystem_avail_bytes{node="worker-1",device="/dev/vda",mountpoint="/"}'
SIZE = 'node_filesystem_size_bytes{node="worker-1",device="/dev/vda",mountpoint="/"}'
VOLUME = 'kubelet_volume_stats_%s_bytes{namespace="mlplatform-tracking",persistentvolumeclaim="mlflow"}'
DAY = 24 * 3600
EXPIRES = "registry_certificate_expiration_timestamp_seconds"
DOOR_EXPIRES, DOOR_LIFETIME = "door_certificate_expiration_timestamp_seconds", "door_certificate_lifetime_seconds"
BACKED_UP = 'kube_lease_renew_time{namespace="mlplatform-monitoring",lease="backup"}'
DRILLED = BACKED_UP.replace("backup", "drill")
TTL = 'kubelet_certificate_manager_server_ttl_seconds{node="worker-1"}'
CERTIFICATES = 'apiserver_client_certificate_expiration_seconds_bucket{le="%s"}'
WAITING = 'kube_pod_container_status_waiting_reason{namespace="n",pod="p",container="c",reason="%s"}'
PHASE = 'kube_pod_status_phase{namespace="n",pod="p",phase="%s"}'
STORE = 'kube_pod_status_ready{namespace="mlplatform-stores",pod="postgresql-1",condition="true"}'
READY = 'kube_pod_status_ready{namespace="n",pod="p",condition="true"}'
REQUESTS = 'model_server_requests_total{service="iris-server",path="%s",status="%s"}'
SECONDS = 'model_server_request_seconds_bucket{service="iris-server",path="/score",le="%s"}'
FEATURE = '{service="iris-server",model="iris",version="3",feature="petal_length",upto="%s"}'
VALUES, SHARE = f"model_server_input_values_total{FEATURE}", f"model_server_training_share{FEATURE}"
PSI = 'feature:model_input_psi:1h{service="iris-server",model="iris",version="3",feature="petal_length"}'
TAINT = 'kube_node_spec_taint{node="%s",key="k",effect="NoSchedule"}'
ON = 'kube_pod_info{namespace="mlplatform-serving",created_by_kind="ReplicaSet",created_by_name="r",pod="%s",node="%s"}'
RUNNING = 'kube_pod_status_phase{namespace="mlplatform-serving",pod="%s",phase="Running"}'
MACHINES = {NODE: "1x60", NODE.replace("worker-1", "worker-2"): "1x60"}
TOGETHER = {ON % ("a", "worker-1"): "1x60", ON % ("b", "worker-1"): "1x60"}
BOTH_RUN = {RUNNING % "a": "1x60", RUNNING % "b": "1x60"}
EVEN = {SHARE % "1.5": "0.5x240", SHARE % "inf": "0.5x240"}
HALF_MISSING = {SHARE % "1.5": "0.25x240", SHARE % "inf": "0.25x240", SHARE % "missing": "0.5x240"}
NEVER_MISSING = EVEN | {SHARE % "missing": "0x240"}


class Case(NamedTuple):
    """Series with one value in each interval, and the minute of the evaluation."""

    series: dict[str, str]
    minute: int
    interval: str = "30s"


FIRES: dict[str, Case] = {
    "NodeDown": Case({NODE: "1x4 0x20"}, 10),
    "DiskFull": Case({FREE: "9x40", SIZE: "100x40"}, 10),
    "DiskFillsUp": Case({FREE: "39-0.015x1000", SIZE: "100x1000"}, 480),
    "VolumeFull": Case({VOLUME % "available": "9x40", VOLUME % "capacity": "100x40"}, 10),
    "CertificateExpires": Case({CERTIFICATES % "2.592e+06": "0+1x80", CERTIFICATES % "+Inf": "0+9x80"}, 35),
    "RegistryCertificateExpires": Case({EXPIRES: f"{20 * DAY}x40"}, 20),
    "DoorCertificateExpires": Case({DOOR_EXPIRES: f"{20 * DAY}x40", DOOR_LIFETIME: f"{90 * DAY}x40"}, 20),
    "KubeletCertificateExpires": Case({TTL: f"{13 * DAY}x40"}, 20),
    "BackupOverdue": Case({"backup_expected": "1x60", BACKED_UP: f"{-3 * DAY}x60"}, 20),
    "BackupMissing": Case({"backup_expected": "1x300"}, 25 * 60, "5m"),
    "DrillOverdue": Case({"drill_expected": "1x60", DRILLED: f"{-32 * DAY}x60"}, 20),
    "DrillMissing": Case({"drill_expected": "1x800", BACKED_UP: f"{32 * DAY}x800"}, 32 * 24 * 60, "1h"),
    "PodCrashLooping": Case({WAITING % "CrashLoopBackOff": "1 0 1x8 0 1x30"}, 12),
    "PodNotReady": Case({READY: "0x60", PHASE % "Running": "1x60"}, 20),
    "StoreMemberMissing": Case({STORE: "1x4 0x20"}, 10),
    "TargetDown": Case({'up{job="nodes",instance="node-exporter-1"}': "0x40"}, 10),
    "ModelErrors": Case({REQUESTS % ("/score", "200"): "0+98x40", REQUESTS % ("/score", "500"): "0+2x40"}, 15),
    "ModelSlow": Case({SECONDS % "0.25": "0+95x60", SECONDS % "2.5": "0+100x60", SECONDS % "+Inf": "0+100x60"}, 25),
    "ModelOnOneMachine": Case({**MACHINES, **TOGETHER, **BOTH_RUN}, 20),
    "ModelDrift": Case({VALUES % "1.5": "0+1x240", VALUES % "inf": "0+9x240", **EVEN}, 100),
}
QUIET: dict[str, dict[str, Case]] = {
    "NodeDown": {"a node that was down for a moment": Case({NODE: "1x4 0x1 1x20"}, 10)},
    "DiskFull": {"a disk with a fifth left": Case({FREE: "20x40", SIZE: "100x40"}, 10)},
    "DiskFillsUp": {
        "a disk that stays as it is": Case({FREE: "39x1000", SIZE: "100x1000"}, 480),
        "one with a single large write": Case({FREE: "_x400 39-0.1x200", SIZE: "100x600"}, 285),
        "one that fills up but is mostly empty": Case({FREE: "99-0.05x1000", SIZE: "100x1000"}, 480),
    },
    "VolumeFull": {
        "a volume that is mostly empty": Case({VOLUME % "available": "90x40", VOLUME % "capacity": "100x40"}, 10)
    },
    "CertificateExpires": {
        "certificates of a year": Case({CERTIFICATES % "2.592e+06": "0x80", CERTIFICATES % "+Inf": "0+9x80"}, 35),
        "one that was last used long ago": Case({CERTIFICATES % "2.592e+06": "5x80"}, 35),
    },
    "RegistryCertificateExpires": {"a certificate of a year": Case({EXPIRES: f"{300 * DAY}x40"}, 20)},
    "DoorCertificateExpires": {
        "a certificate of a year": Case({DOOR_EXPIRES: f"{300 * DAY}x40", DOOR_LIFETIME: f"{397 * DAY}x40"}, 20),
        "one of six days that has begun": Case({DOOR_EXPIRES: f"{2 * DAY}x40", DOOR_LIFETIME: f"{6 * DAY}x40"}, 20),
    },
    "KubeletCertificateExpires": {"one that the kubelet renews soon": Case({TTL: f"{36 * DAY}x40"}, 20)},
    "BackupOverdue": {
        "a backup of yesterday": Case({"backup_expected": "1x60", BACKED_UP: f"{-DAY}x60"}, 20),
        "a stack that had backups once": Case({BACKED_UP: f"{-30 * DAY}x60"}, 20),
        "a stack without backups": Case({"up": "1x60"}, 20),
    },
    "BackupMissing": {
        "a first backup": Case({"backup_expected": "1x300", BACKED_UP: f"{DAY}x300"}, 25 * 60, "5m"),
        "a stack without a target": Case({"up": "1x300"}, 25 * 60, "5m"),
        "a stack of today": Case({"backup_expected": "1x300"}, 12 * 60, "5m"),
    },
    "DrillOverdue": {
        "a drill of last month": Case({"drill_expected": "1x60", DRILLED: f"{-30 * DAY}x60"}, 20),
        "a stack that could have drills once": Case(
            {"backup_expected": "1x60", BACKED_UP: f"{-DAY}x60", DRILLED: f"{-90 * DAY}x60"}, 20
        ),
    },
    "DrillMissing": {
        "a first drill": Case(
            {"drill_expected": "1x800", BACKED_UP: f"{32 * DAY}x800", DRILLED: f"{32 * DAY}x800"}, 32 * 24 * 60, "1h"
        ),
        "a stack of this month": Case({"drill_expected": "1x800", BACKED_UP: f"{30 * DAY}x800"}, 30 * 24 * 60, "1h"),
    },
    "PodCrashLooping": {
        "a pod that waits for its image": Case({WAITING % "ContainerCreating": "1x40"}, 12),
        "one that was restarted once": Case({WAITING % "CrashLoopBackOff": "0x4 1 0x40"}, 12),
    },
    "PodNotReady": {
        "a pod that has succeeded": Case({READY: "0x60", PHASE % "Succeeded": "1x60", PHASE % "Running": "0x60"}, 20),
        "one that is still starting": Case({READY: "0x10 1x50", PHASE % "Running": "1x60"}, 20),
    },
    "StoreMemberMissing": {
        "a member that restarted": Case({STORE: "1x4 0x3 1x20"}, 10),
        "another pod": Case({READY: "0x20"}, 10),
    },
    "TargetDown": {"a target that responds": Case({'up{job="nodes",instance="node-exporter-1"}': "1x40"}, 10)},
    "ModelErrors": {
        "requests with a client error": Case(
            {REQUESTS % ("/score", "200"): "0+50x40", REQUESTS % ("/score", "422"): "0+50x40"}, 15
        ),
        "health checks of a server without a model": Case(
            {REQUESTS % ("/score", "200"): "0+50x40", REQUESTS % ("/v2/health/ready", "503"): "0+50x40"}, 15
        ),
        "no requests": Case({REQUESTS % ("/score", "200"): "7x40", REQUESTS % ("/score", "500"): "7x40"}, 15),
    },
    "ModelSlow": {
        "a fast server": Case({SECONDS % "0.25": "0+100x60", SECONDS % "+Inf": "0+100x60"}, 25),
        "one without requests": Case({SECONDS % "0.25": "0x60", SECONDS % "+Inf": "0x60"}, 25),
    },
    "ModelOnOneMachine": {
        "pods on two": Case(
            {**MACHINES, ON % ("a", "worker-1"): "1x60", ON % ("b", "worker-2"): "1x60", **BOTH_RUN}, 20
        ),
        "one pod": Case({**MACHINES, **TOGETHER, RUNNING % "a": "1x60", RUNNING % "b": "0x60"}, 20),
        "nodes of which only one accepts pods": Case(
            {**MACHINES, **TOGETHER, **BOTH_RUN, TAINT % "worker-2": "1x60"}, 20
        ),
        "a node that has just joined": Case(
            {**MACHINES, NODE.replace("worker-1", "worker-2"): "_x30 1x30", **TOGETHER, **BOTH_RUN}, 20
        ),
    },
    "ModelDrift": {
        "values as in training": Case({VALUES % "1.5": "0+5x240", VALUES % "inf": "0+5x240", **EVEN}, 100),
        "a few different values": Case({VALUES % "1.5": "0x240", VALUES % "inf": "0+1x240", **EVEN}, 100),
        "a model without a training profile": Case({VALUES % "inf": "0+9x240"}, 100),
        "half of the values missing as in training": Case(
            {VALUES % "1.5": "0+5x240", VALUES % "inf": "0+5x240", VALUES % "missing": "0+10x240", **HALF_MISSING}, 100
        ),
        "missing values of a model whose profile has no share of them": Case(
            {VALUES % "1.5": "0+5x240", VALUES % "inf": "0+5x240", VALUES % "missing": "0+10x240", **EVEN}, 100
        ),
    },
}


def promtool_test(case: Case, expected: list[dict[str, Any]]) -> dict[str, Any]:
    """Return a test file for promtool with the expected values of expressions."""
    inputs = [{"series": series, "values": values} for series, values in case.series.items()]
    at = [{"eval_time": f"{case.minute}m", **each} for each in expected]
    test = {"interval": case.interval, "input_series": inputs, "promql_expr_test": at}
    return {
        "rule_files": sorted(RULES),
        "evaluation_interval": case.interval,
        "fuzzy_compare": True,
        "tests": [test],
    }


def firing(*alerts: str, count: int = 1) -> list[dict[str, Any]]:
    expression = 'count by (alertname) (ALERTS{alertstate="firing"})'
    samples = [{"labels": f'{{alertname="{name}"}}', "value": count} for name in alerts]
    return [{"expr": expression, "exp_samples": samples}]


def promtool(*arguments: str | Path) -> str:
    assert PROMTOOL
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check(folder: Path, content: dict[str, Any]) -> None:
    file = folder / "test.yaml"
    file.write_text(yaml.safe_dump(content))
    write_rules(folder)
    promtool("test", "rules", file)


def write_rules(folder: Path) -> None:
    for name, text in RULES.items():
        (folder / name).write_text(text)


def alerts() -> list[str]:
    groups = yaml.safe_load(RULES["alerts.rules.yaml"])["groups"]
    return [rule["alert"] for group in groups for rule in group["rules"]]


def test_alerts_each_have_a_firing_and_a_quiet_case() -> None:
    assert sorted(FIRES) == sorted(QUIET) == sorted(alerts())
    assert all(QUIET.values())


def test_alerts_each_have_a_row_of_the_page() -> None:
    page = (PROJECT / "docs" / "operate.md").read_text()
    table = page.split("| alert | condition |\n")[1].split("\n\n")[0]
    first_cells = "".join(row.split("|")[1] for row in table.splitlines())
    assert sorted(re.findall(r"`(\w+)`", first_cells)) == sorted(alerts())


@needs_promtool
@pytest.mark.parametrize("alert", FIRES)
def test_alert_fires_for_its_case(alert: str, tmp_path: Path) -> None:
    check(tmp_path, promtool_test(FIRES[alert], firing(alert)))


@needs_promtool
def test_model_alerts_fire_for_every_way_to_predict(tmp_path: Path) -> None:
    slow = {SECONDS % "0.25": "0+95x60", SECONDS % "2.5": "0+100x60", SECONDS % "+Inf": "0+100x60"}
    failing = {REQUESTS % ("/score", "200"): "0+98x60", REQUESTS % ("/score", "500"): "0+2x60"}
    paths = prediction_paths()
    series = {
        name.replace("/score", path).replace("iris", f"model-{number}"): values
        for number, path in enumerate(paths)
        for name, values in (slow | failing).items()
    }
    check(tmp_path, promtool_test(Case(series, 25), firing("ModelErrors", "ModelSlow", count=len(paths))))


@needs_promtool
@pytest.mark.parametrize(("alert", "case"), [(alert, case) for alert, cases in QUIET.items() for case in cases])
def test_alert_stays_quiet_for_similar_cases(alert: str, case: str, tmp_path: Path) -> None:
    check(tmp_path, promtool_test(QUIET[alert][case], firing()))


@needs_promtool
def test_model_drift_fires_for_a_feature_that_becomes_missing(tmp_path: Path) -> None:
    series = {VALUES % "1.5": "0x240", VALUES % "inf": "0x240", VALUES % "missing": "0+10x240", **NEVER_MISSING}
    check(tmp_path, promtool_test(Case(series, 100), firing("ModelDrift")))


@needs_promtool
@pytest.mark.parametrize("counts", [[300.0, 300.0, 400.0, 0.0], [30.0, 0.0, 900.0, 70.0], [1.0, 998.0, 1.0, 900.0]])
@pytest.mark.parametrize("missing", [None, 0.0, 0.2])
def test_stability_index_equals_that_of_the_pipeline(
    counts: list[float], missing: float | None, tmp_path: Path
) -> None:
    ranges: dict[str, Any] = {"edges": [1.5, 2.5], "shares": [0.25, 0.25, 0.5 - (missing or 0)]}
    shares, names = list(ranges["shares"]), ["1.5", "2.5", "inf", "missing"]
    if missing is not None:
        ranges["missing"] = missing
        shares.append(missing)
    series = {SHARE % name: f"{share}x240" for name, share in zip(names, shares, strict=False)}
    series |= {VALUES % name: f"0+{count}x240" for name, count in zip(names, counts, strict=True)}
    served = {"petal_length": dict(zip(names, counts, strict=True))}
    indices, _ = drift.measure([{"name": "petal_length", "ranges": ranges}], served)
    expected = {
        "expr": PSI.partition("{")[0],
        "exp_samples": [{"labels": PSI, "value": indices["petal_length"]}],
    }
    check(tmp_path, promtool_test(Case(series, 100), [expected]))


@needs_promtool
def test_rules_and_configuration_are_valid_for_prometheus(tmp_path: Path) -> None:
    write_rules(tmp_path)
    for name in RULES:
        promtool("check", "rules", "--lint=all", "--lint-fatal", tmp_path / name)
    file = tmp_path / "prometheus.yaml"
    settings = configuration(
        10, 15, 9090, ["mlplatform-serving"], kubeflow=True, door="", alerts=True, verified_kubelets=True
    )
    file.write_text(yaml.safe_dump(settings))
    assert "valid prometheus config" in promtool("check", "config", "--syntax-only", file)


def test_drift_constants_of_rules_and_status_equal_those_of_the_pipeline() -> None:
    rules = RULES["models.rules.yaml"]
    assert f">= {drift.LEAST_ROWS})" in rules
    assert rules.count(f"{drift.LEAST_SHARE:f}".rstrip("0")) == 2
    assert f"psi:1h > {drift.DRIFTED}\n" in RULES["alerts.rules.yaml"]
    assert prometheus_query.DRIFT_THRESHOLD == drift.DRIFTED
