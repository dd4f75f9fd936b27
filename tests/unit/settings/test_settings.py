"""Settings: validation, merging and error texts, which name the setting, the value found and the allowed values."""

import json
from pathlib import Path
from typing import Any

import pytest

from settings.errors import SettingsError
from settings.loading import load_settings
from settings.metrics import describe_gate
from settings.paths import PROJECT
from tools.bootstrap import stacks

PIPELINES = "workloads:pipelines"
TOGETHER = {"serving:together": '["iris"]', "serving:follow": "true"}


def load_error(overrides: dict[str, str], stack: str = "dev", folder: Path = PROJECT) -> str:
    with pytest.raises(SettingsError) as error:
        load_settings(stack, overrides, folder)
    return str(error.value)


def test_load_dev_returns_the_committed_values() -> None:
    settings = load_settings("dev", {})
    assert settings.workloads.pipelines["iris-external"].gate == 0.7
    assert settings.serving.port == 5005


def test_load_with_overrides_merges_them_key_by_key() -> None:
    gate = {PIPELINES: json.dumps({"iris-external": {"gate": "0.9"}}), "serving:port": "6005"}
    settings = load_settings("dev", gate)
    external = settings.workloads.pipelines["iris-external"]
    assert (external.gate, external.serve, external.parameters) == (0.9, True, {"blob": "iris.csv"})
    assert settings.serving.port == 6005
    assert "iris-local" in settings.workloads.pipelines


def test_load_with_models_together_needs_one_port() -> None:
    served = {"x": {"serve": True}, "y": {"serve": True, "port": 6000}}
    together = {"serving:together": '["x", "iris"]', PIPELINES: json.dumps(served)}
    assert load_settings("dev", TOGETHER | together).serving.together == ["x", "iris"]


def test_load_without_a_file_returns_the_defaults() -> None:
    settings = load_settings("no-such-file", {})
    assert settings.workloads.pipelines == {}
    assert settings.platform.pipelines == "embedded"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"serving:prot": "1"}, ["serving:prot is not a setting"]),
        ({"servng:port": "5005"}, ["servng is not a setting"]),
        ({"serving:port": "80"}, ["serving:port", "greater than or equal to 1024", "found: '80'"]),
        ({"serving:port": "many"}, ["serving:port", "valid integer", "found: 'many'"]),
        ({"serving:follow": "perhaps"}, ["serving:follow", "valid boolean", "'perhaps'"]),
        ({"platform:monitoring": "{}"}, ["platform:monitoring: Prometheus runs in a cluster"]),
        (
            {"platform:monitoring": '{"alerts_url": "hooks.example.com/t0ken"}'},
            ["platform:monitoring.alerts_url", "has to begin with https://"],
        ),
        ({"port": "5005"}, ["port is not a setting", "namespace:name"]),
        ({"platform:keep": "all"}, ["platform:keep: write a mapping of settings (found: 'all')"]),
        (
            {"platform:backup": '{"password": "short", "target": "/a"}'},
            ["platform:backup.password: write at least 8 characters, not 5"],
        ),
        *[
            ({"platform:backup": f'{{"password": "long-enough", "target": {target}}}'}, ["platform:backup", *expected])
            for target, *expected in (
                ('"backups"', "write /folder, sftp:user@host:/path or s3:https://host/bucket/path (found: 'backups')"),
                ('"s3:backups/a"', "write /folder"),
                ('"sftp:nas"', "write /folder"),
                ('"/a", "access_key": "a"', "access_key and secret_key belong together"),
                ('"/a", "access_key": "a", "secret_key": "b"', "the target /a is not an S3 address; remove the keys"),
                ('"/a", "schedule": "30 0 2 * * *"', ".schedule", "cron starts nothing at the seconds 30"),
                ('"/a", "schedule": "5/15 2 * * *"', ".schedule", "5/15: cron takes a step of * or of a range only"),
                ('"/a", "schedule": "at night"', ".schedule", "write five fields"),
                ('"/a", "keep": {"last": 0}', ".keep.last", "greater than or equal to 1"),
            )
        ],
        ({"platform:backup": '{"target": "/a", "password": "short"}'}, ["platform:backup.password", "at least 8"]),
        ({"platform:keep": '{"runs": {}}'}, ["platform:keep.runs", "write days, newest or both"]),
        ({"platform:keep": '{"runs": {"days": 0}}'}, ["platform:keep.runs.days", "greater than or equal to 1"]),
        ({"platform:keep": '{"versions": {"newest": 3}}'}, ["platform:keep", "versions needs runs"]),
        ({"infra:proxy": "{}"}, ["infra:proxy", "set http, https or both, or remove the proxy"]),
        ({"infra:proxy": '{"http": "proxy:3128"}'}, ["infra:proxy.http", "'proxy:3128'"]),
        ({"infra:proxy": '{"https": "http://me:word@proxy:3128"}'}, ["infra:proxy.https"]),
        (
            {PIPELINES: '{"iris-external": {"gate": "high"}}'},
            [f"{PIPELINES}.iris-external.gate", "valid number", "'high'"],
        ),
        *[
            ({PIPELINES: f'{{"iris-external": {{"gate": {gate}}}}}'}, [f"{PIPELINES}.iris-external", *expected])
            for gate, *expected in (
                ("70", "accuracy is at most 1, so no model is above 70", "found: 70"),
                ("true", "above has to be a number, not True"),
                ('{"metric": "rmse", "above": 3}', "rmse is better if it is smaller: write below instead of above"),
                ('{"metric": "log_loss", "below": 0}', "log_loss is at least 0, so no model is below 0"),
                ('{"metric": "mape", "below": 3}', "there is no metric mape; the metrics are: accuracy, precision"),
                ('{"metric": "f1"}', "a condition on f1 needs above with a number, better_than_champion: true, or"),
                ('{"above": 0.5}', ".gate.metric: Field required"),
                ('{"metric": "f1", "above": 0.5, "over": 1}', ".gate.over is not a setting"),
                ('[{"metric": "f1", "above": 0.5}, {"metric": "mae", "below": "x"}]', ".gate.1.below", "found: 'x'"),
                ("[]", "at least 1 item"),
                ('0.5, "parameters": {"gate": []}', "parameters.gate is set by the platform"),
            )
        ],
        (
            {PIPELINES: '{"iris-external": {"parameters": {"baseline": 0.5}}}'},
            [f"{PIPELINES}.iris-external", "gate and parameters.baseline both set the gate"],
        ),
        ({PIPELINES: '{"Iris_2": {}}'}, [PIPELINES, "Iris_2", "pattern"]),
        ({PIPELINES: '{"x": {"port": 6000}}'}, [f"{PIPELINES}.x", "serve: true"]),
        ({PIPELINES: '{"x": {"serve": true}}'}, [f"{PIPELINES}.x.port", f"taken by {PIPELINES}.iris-external.port"]),
        (
            {PIPELINES: '{"x": {"uses_model": "rose"}}'},
            [f"{PIPELINES}.x.uses_model", "rose", "there are: iris"],
        ),
        (
            {PIPELINES: '{"x": {"serve": true, "port": 6000, "model": "iris"}}'},
            ["iris is already served for iris-external"],
        ),
        *[
            (TOGETHER | overrides, expected)
            for overrides, expected in (
                ({"serving:follow": "false"}, ["serving: together: the server loads", "set follow: true"]),
                ({"serving:canary": '{"version": 1}'}, ["together and canary: a canary is a version of one model"]),
                ({"serving:together": '["iris", "iris"]'}, ["together: a model is named twice in iris, iris"]),
                ({"serving:together": '["rose"]'}, ["serving:together: no pipeline with serve: true has", "are: iris"]),
                (
                    {PIPELINES: '{"x": {"serve": true}}'},
                    [f"{PIPELINES}.x.port: port 5005 is already taken by serving:together"],
                ),
                (
                    {PIPELINES: '{"iris-external": {"port": 6000}}'},
                    [f"{PIPELINES}.iris-external.port: serving:together"],
                ),
                (
                    {"workloads:teams": '{"shop": {"people": ["sam"], "pipelines": ["iris-external"]}}'},
                    ["serving:together: the model iris belongs to the team shop"],
                ),
                (
                    {"serving:together": '["iris", "x"]', PIPELINES: '{"x": {"serve": true, "uses_model": "iris"}}'},
                    ["serving:together: the pipeline x uses the model iris while it trains x"],
                ),
            )
        ],
        ({"serving:grpc_port": "5050"}, ["serving:grpc_port: port 5050 is already taken by platform:tracking.port"]),
        ({"serving:port": "5050"}, ["serving:port: port 5050 is already taken by platform:tracking.port"]),
        (
            TOGETHER | {"serving:port": "5050"},
            ["serving:port: port 5050 is already taken by platform:tracking.port"],
        ),
        ({"platform:tracking": '{"port": 10000}'}, ["port 10000 is already taken by platform:tracking.port"]),
        (
            {"platform:blobs": '{"account_url": "https://a.example"}'},
            ["platform:blobs", "account_key belong together"],
        ),
        ({"platform:blobs": '{"upload": {"a": "no/such.csv"}}'}, ["platform:blobs", "no file no/such.csv"]),
        (
            {PIPELINES: '{"iris-local": {"schedule": "0 3 * * *"}}'},
            [f"{PIPELINES}.iris-local.schedule", "platform:pipelines: embedded", "set platform:pipelines: kubeflow"],
        ),
        (
            {PIPELINES: '{"iris-local": {"schedule": "61 * * * *"}}'},
            [f"{PIPELINES}.iris-local.schedule", "61 is no minute", "from 0 to 59", "'61 * * * *'"],
        ),
        ({PIPELINES: '{"iris-local": {"schedule": "@daily"}}'}, ["schedule", "five fields as cron does"]),
        ({PIPELINES: '{"iris-local": {"timeout_minutes": 0}}'}, ["timeout_minutes", "greater than or equal to 1"]),
        ({PIPELINES: '{"iris-local": {"retries": 11}}'}, ["retries", "less than or equal to 10"]),
    ],
)
def test_load_with_a_wrong_setting_names_it_and_the_value_found(overrides: dict[str, str], expected: list[str]) -> None:
    message = load_error(overrides)
    assert all(part in message for part in expected), message


def test_load_columns_passes_them_with_the_parameters() -> None:
    columns = {"zip": "category", "age": {"missing": True}, "price": {"missing": "drop", "unit": "EUR"}}
    settings = load_settings("dev", {"workloads:pipelines": json.dumps({"flats": {"columns": columns}})})
    passed = settings.workloads.pipelines["flats"].arguments["columns"]
    assert passed == columns | {"zip": {"type": "category"}}


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("text", "workloads:pipelines.flats.columns.zip.type: "),
        ({"mising": True}, "workloads:pipelines.flats.columns.zip.mising is not a setting"),
        ({"missing": "maybe"}, "workloads:pipelines.flats.columns.zip.missing"),
    ],
)
def test_load_with_a_wrong_column_names_it(column: object, expected: str) -> None:
    assert expected in load_error({"workloads:pipelines": json.dumps({"flats": {"columns": {"zip": column}}})})


@pytest.mark.parametrize("value", [2**53 + 1, [1, -(2**53) - 1], {"x": {"y": 2**60}}])
def test_load_with_a_whole_number_that_pulumi_would_round_says_how_to_write_it(value: object) -> None:
    text = load_error({"workloads:pipelines": json.dumps({"flats": {"parameters": {"p": value}}})})
    assert "workloads:pipelines.flats.parameters.p" in text
    assert "is beyond 2^53, where Pulumi rounds whole numbers; write it as a text, in quotes" in text


@pytest.mark.parametrize(
    ("gate", "conditions", "text"),
    [
        ("null", [], "none"),
        ('"0.8"', [{"metric": "accuracy", "above": 0.8}], "accuracy above 0.8"),
        ('{"metric": "r2", "above": 0}', [{"metric": "r2", "above": 0}], "r2 above 0"),
        ('{"metric": "rmse", "below": 3.5}', [{"metric": "rmse", "below": 3.5}], "rmse below 3.5"),
        (
            '[{"metric": "f1", "above": 0.8}, {"metric": "size", "below": 1e6, "better_than_champion": true}]',
            [{"metric": "f1", "above": 0.8}, {"metric": "size", "below": 1e6, "better_than_champion": True}],
            "f1 above 0.8, size below 1000000 and better than the champion",
        ),
    ],
)
def test_load_of_a_gate_returns_its_conditions(gate: str, conditions: list[dict[str, Any]], text: str) -> None:
    settings = load_settings("dev", {PIPELINES: f'{{"iris-external": {{"gate": {gate}}}}}'})
    found = settings.workloads.pipelines["iris-external"].gate_conditions
    assert (found, describe_gate(found)) == (conditions, text)


def test_load_with_several_faults_reports_all_of_them() -> None:
    message = load_error({"serving:port": "80", "serving:workers": "0", "platform:pipelines": "airflow"})
    assert all(
        part in message for part in ["serving:port", "serving:workers", "platform:pipelines", "'embedded', 'job'"]
    )


@pytest.mark.parametrize("stack", stacks.stack_names())
def test_load_of_every_committed_stack_succeeds(stack: str) -> None:
    assert load_settings(stack, {})


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"infra:lab": '{"size": 11}'}, ["infra:lab.size", "less than or equal to 10", "11"]),
        ({"infra:lab": '{"subnet": "10.20.0.1/24"}'}, ["infra:lab.subnet", "valid IPv4 network", "10.20.0.1/24"]),
        (
            {"infra:lab": '{"subnet": "10.96.4.0/24"}'},
            ["kubernetes.service_subnet 10.96.0.0/16 overlaps with lab.subnet"],
        ),
        ({"infra:lab": '{"control_planes": 2}'}, ["infra:lab.control_planes", "set 1, 3 or 5", "2"]),
        ({"infra:lab": '{"control_planes": 5}'}, ["infra:lab", "size: 3 is less than control_planes; set 5 or more"]),
        ({"infra:kubernetes": '{"virtual_address": "10.21.0.9"}'}, ["virtual_address: 10.21.0.9 is outside of"]),
        ({"infra:kubernetes": '{"version": "v1.34"}'}, ["infra:kubernetes.version", "v1.34"]),
        ({"infra:machines": "none"}, ["machines: none does not go with cluster: kubeadm"]),
        ({"infra:machines": "hosts"}, ["infra:hosts, the machines' addresses"]),
        ({"platform:network": "calico"}, ["platform:network", "'weave' or 'flannel'", "calico"]),
        ({"platform:load_balancer": '{"addresses": "10.20.0.300-10.20.0.310"}'}, ["load_balancer", "10.20.0.300"]),
        ({"platform:registry": '{"url": "https://harbor.example"}'}, ["url, username and password belong together"]),
        (
            {"platform:registry": '{"builder": {"username": "ci", "password": "word"}}'},
            ["platform:registry", "builder: is for your own registry, at url"],
        ),
        ({"platform:egress": '["10.0.0.1/8"]'}, ["platform:egress", "10.0.0.1/8", "valid IPv4 network"]),
        ({"platform:pipelines": "embedded"}, ["embedded does not go with infra:cluster: kubeadm"]),
        (
            {PIPELINES: '{"iris-local": {"schedule": "0 3 * * *"}}', "platform:pipelines": "job"},
            [f"{PIPELINES}.iris-local.schedule", "platform:pipelines: job has no scheduler"],
        ),
        ({"platform:kubeflow": '{"size_gb": 0}'}, ["platform:kubeflow.size_gb", "greater than or equal to 1"]),
    ],
)
def test_load_with_a_wrong_cluster_setting_names_it(overrides: dict[str, str], expected: list[str]) -> None:
    message = load_error(overrides, "lab")
    assert all(part in message for part in expected), message


ACCOUNT = '{"account_url": "https://a.example", "account_key": "a2V5"}'


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            {"platform:registry": '{"url": "https://harbor.example", "username": "ci", "password": "word"}'},
            "platform:registry.url: infra:azure.registry makes a registry for this stack",
        ),
        (
            {"platform:blobs": ACCOUNT},
            "platform:blobs.account_url: infra:azure.storage makes an account for this stack",
        ),
    ],
)
def test_load_of_azure_with_a_second_registry_or_account_names_both(overrides: dict[str, str], expected: str) -> None:
    assert expected in load_error(overrides, "managed")


def test_load_with_an_account_elsewhere_leaves_the_port_of_the_emulator_free() -> None:
    assert load_settings("dev", {"platform:tracking": '{"port": 10000}', "platform:blobs": ACCOUNT})


CLUSTER_IPS = {
    "platform:tracking": {"service": "ClusterIP"},
    "platform:monitoring": {"service": "ClusterIP"},
    "platform:kubeflow": {"service": "ClusterIP"},
    "serving:service": "ClusterIP",
}


def with_ports(ports: dict[str, int], more: dict[str, Any]) -> dict[str, str]:
    """Return the overrides of a lab whose pages have no address outside the cluster."""
    settings: dict[str, Any] = {"platform:pipelines": "kubeflow", **CLUSTER_IPS, **more}
    for name, port in ports.items():
        settings |= {name: {**settings[name], "port": port}} if name in settings else {f"{name}:port": port}
    return {name: json.dumps(value) if isinstance(value, dict) else str(value) for name, value in settings.items()}


@pytest.mark.parametrize(
    ("ports", "fault"),
    [
        ({"platform:monitoring": 5050}, "platform:monitoring.port: port 5050 is already taken by platform:tracking."),
        ({"platform:kubeflow": 9090}, "platform:kubeflow.port: port 9090 is already taken by platform:monitoring."),
        ({"platform:kubeflow": 5005}, "platform:kubeflow.port: port 5005 is already taken by serving:port"),
    ],
)
def test_load_of_a_cluster_with_two_pages_at_one_port_names_both(ports: dict[str, int], fault: str) -> None:
    assert fault in load_error(with_ports(ports, {}), "lab")
    one_outside = {next(iter(ports)): {"service": "LoadBalancer"}}
    assert load_settings("lab", with_ports(ports, one_outside))


def test_load_of_a_door_with_a_page_at_the_port_of_models_succeeds() -> None:
    door = {"platform:door": {"host": "ml.example.com"}}
    assert load_settings("lab", with_ports({"platform:monitoring": 5005}, door))


def test_load_cluster_engine_without_a_cluster_raises() -> None:
    for engine in ("job", "kubeflow"):
        assert f"{engine} does not go with infra:cluster: none" in load_error({"platform:pipelines": engine})
        assert load_settings("lab", {"platform:pipelines": engine}).platform.pipelines == engine


@pytest.mark.parametrize(
    ("schedule", "fields"),
    [
        ("30 2 * * MON-FRI", "0 30 2 * * 1-5"),
        ("0 0 1 jan,JUL *", "0 0 0 1 1,7 *"),
        ("*/5 * * * *", "0 */5 * * * *"),
        ("15 */10 8-18/2 1,15 * 0", "15 */10 8-18/2 1,15 * 0"),
    ],
)
def test_schedule_with_five_or_six_fields_is_normalized(schedule: str, fields: str) -> None:
    settings = {"platform:pipelines": "kubeflow", PIPELINES: json.dumps({"iris-local": {"schedule": schedule}})}
    assert load_settings("lab", settings).workloads.pipelines["iris-local"].schedule == fields


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("* * *", "five fields"),
        ("0 24 * * *", "24 is no hour"),
        ("0 0 0 * *", "0 is no day of the month: write *, a number from 1 to 31"),
        ("0 0 * * 7", "7 is no day of the week"),
        ("0 0 * 5-1 *", "5-1 is no month"),
        ("*/0 * * * *", "*/0 is no minute"),
        ("0 0 * * FRY", "FRY is no day of the week"),
    ],
)
def test_schedule_with_a_wrong_field_names_the_field(schedule: str, expected: str) -> None:
    assert expected in load_error({PIPELINES: json.dumps({"iris-local": {"schedule": schedule}})}, "lab")


def host(name: str, **more: str) -> dict[str, str]:
    return {"name": name, "address": f"{name}.example", "host_key": "ssh-ed25519 AAAA", **more}


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ({"machines": [host("a")]}, "machines: 0 have role: control-plane (none); set 1, 3 or 5: etcd needs"),
        (
            {"machines": [host(name, role="control-plane") for name in "ab"]},
            "2 have role: control-plane (a, b); set 1, 3",
        ),
        (
            {"machines": [host(name, role="control-plane") for name in "abc"]},
            "kubernetes: the control planes a, b, c need one address for their API server: set virtual_address",
        ),
        ({"machines": [host("a", role="control-plane"), host("a")]}, "the name a is given twice"),
        ({"machines": [host("a", host_key="SHA256:abc")]}, "infra:hosts.machines.0.host_key"),
        ({"machines": [host("A_b")]}, "infra:hosts.machines.0.name"),
        ({"private_key": "k", "machines": [host("a", role="control-plane")]}, "set one of private_key"),
    ],
)
def test_load_with_wrong_hosts_names_the_setting(hosts: dict[str, object], expected: str) -> None:
    overrides = {"infra:machines": "hosts", "infra:hosts": json.dumps({"user": "u", "private_key_file": "f", **hosts})}
    assert expected in load_error(overrides, "lab")


def test_load_with_a_wrong_secret_does_not_repeat_it() -> None:
    message = load_error({"platform:blobs": '{"account_url": "ftp://x", "account_key": "c2VjcmV0", "port": 1}'})
    assert "platform:blobs.account_url" in message
    assert "c2VjcmV0" not in message
    message = load_error({"platform:tracking": '{"database_url": "mysql://me:c2VjcmV0@host/db"}'})
    assert "platform:tracking.database_url: has to begin with postgresql://" in message
    assert "c2VjcmV0" not in message


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("platform:backup", '{"target": "/x", "password": "c2VjcmV0" "oops"}'),
        ("platform:backup", '["/x", "c2VjcmV0"]'),
        ("platform:backup", '{"target": ["/x", "c2VjcmV0"], "password": "long-enough"}'),
        ("platform:backup.password", '{"target": "/x", "password": ["c2VjcmV0"]}'),
        ("platform:tracking", '{"database_url": "postgresql://u:c2VjcmV0@h/db",}'),
        ("platform:tracking.artifacts", '{"artifacts": "secret_key: c2VjcmV0"}'),
        ("platform:kubeflow.objects", '{"objects": ["b", "c2VjcmV0"]}'),
        ("platform:door", "host: ml.example.com, oidc: {client_secret: c2VjcmV0}"),
        ("platform:door.users", '{"host": "ml.example.com", "users": ["anna", "c2VjcmV0"]}'),
        ("platform:door.users.anna", '{"host": "ml.example.com", "users": {"anna": "c2VjcmV0"}}'),
        ("workloads:teams", '[{"shop": {"s3": {"secret_key": "c2VjcmV0"}}}]'),
        ("workloads:teams.shop", '{"shop": "s3: {secret_key: c2VjcmV0}"}'),
        ("workloads:teams.shop.s3", '{"shop": {"people": ["anna"], "s3": ["k", "c2VjcmV0"]}}'),
        ("infra:hosts", "private_key: c2VjcmV0"),
        ("infra:hosts.machines", '{"user": "u", "machines": "c2VjcmV0"}'),
        ("infra:proxy.https", '{"https": "http://me:c2VjcmV0@proxy:3128"}'),
    ],
)
def test_load_with_a_wrong_section_of_secrets_repeats_no_part_of_it(setting: str, value: str) -> None:
    name, _, _ = setting.partition(".")
    message = load_error({name: value})
    assert setting in message
    assert "c2VjcmV0" not in message


@pytest.mark.parametrize(
    ("overrides", "found"),
    [
        ({"platform:backup": '{"target": "backups", "password": "long-enough"}'}, "'backups'"),
        ({"platform:tracking": '{"port": "many"}'}, "'many'"),
        ({"workloads:teams": '{"shop": {"people": ["Anna!"]}}'}, "'Anna!'"),
        ({"serving:together": "iris"}, "'iris'"),
        ({PIPELINES: '["iris-local"]'}, "['iris-local']"),
    ],
)
def test_load_with_a_wrong_plain_value_repeats_it(overrides: dict[str, str], found: str) -> None:
    assert f"(found: {found})" in load_error(overrides)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("config: [", "line 1, column 10"),
        ("config:\n  platform:backup: {target: /x, password: 'c2VjcmV0' oops}", "line 2, column 54"),
        ("config:\n  platform:backup: {target: /x, password: *c2VjcmV0}", "line 2, column 43"),
        ("config: \0", "a character is not allowed"),
    ],
)
def test_load_of_invalid_yaml_names_file_and_place(text: str, place: str, tmp_path: Path) -> None:
    (tmp_path / "Pulumi.dev.yaml").write_text(text)
    message = load_error({}, folder=tmp_path)
    assert "Pulumi.dev.yaml is not YAML" in message
    assert place in message
    assert "c2VjcmV0" not in message


def test_load_of_a_file_without_config_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.dev.yaml").write_text("serving:port: 1")
    assert "expected a mapping named config" in load_error({}, folder=tmp_path)


@pytest.mark.parametrize(
    ("tune", "expected"),
    [
        ({"trials": 0}, ["tune.trials", "greater than or equal to 1", "found: 0"]),
        ({"trails": 5}, ["tune.trails is not a setting"]),
        ({"metric": "size"}, ["tune.metric", "'accuracy', 'precision'", "found: 'size'"]),
        ({"sampler": "best"}, ["tune.sampler", "'tpe', 'random' or 'grid'", "found: 'best'"]),
        ({"minutes": 360}, ["tune.minutes is 360, and timeout_minutes is 360"]),
        ({"estimators": ["SVC", "SVC"]}, ["tune: estimators: SVC is listed twice"]),
        ({"parameters": {"SVC": {"C": [1]}}}, ["parameters.SVC: it is not one of the estimators forest, boosting"]),
        ({"parameters": {"linear": {"C": []}}}, ["tune.parameters.linear.C", "at least 1 item"]),
        ({"parameters": {"linear": {"C": {}}}}, ["tune.parameters.linear.C: a range needs either integer or number"]),
        (
            {"parameters": {"linear": {"C": {"integer": [0.5, 2]}}}},
            ["tune.parameters.linear.C.integer.0", "valid integer", "found: 0.5"],
        ),
        (
            {"parameters": {"linear": {"C": {"number": [2, 1]}}}},
            ["tune.parameters.linear.C: the first bound has to be smaller than the second, found 2 and 1"],
        ),
        (
            {"parameters": {"linear": {"C": {"number": [0, 1], "scale": "log"}}}},
            ["tune.parameters.linear.C: scale: log needs bounds above 0, found 0"],
        ),
        (
            {"parameters": {"linear": {"C": {"number": [1, 2], "points": 4}}}},
            ["parameters.linear.C.points: it is for sampler: grid only"],
        ),
    ],
)
def test_load_with_an_invalid_search_names_setting_and_fault(tune: dict[str, Any], expected: list[str]) -> None:
    text = load_error({PIPELINES: json.dumps({"iris-external": {"tune": tune}})})
    assert [part for part in [f"{PIPELINES}.iris-external", *expected] if part not in text] == []


def test_load_with_a_search_passes_it_to_the_pipeline() -> None:
    tune = {"trials": 5, "parameters": {"forest": {"max_depth": {"integer": [3, 9]}, "criterion": ["gini"]}}}
    settings = load_settings("dev", {PIPELINES: json.dumps({"iris-external": {"tune": tune}})})
    assert settings.workloads.pipelines["iris-external"].arguments["tune"] == tune
    twice = {PIPELINES: json.dumps({"iris-external": {"tune": tune, "parameters": {"tune": {}}}})}
    assert "tune and parameters.tune both describe the search; remove parameters.tune" in load_error(twice)


EXPOSED = {
    "platform:tracking": '{"service": "NodePort"}',
    "platform:monitoring": '{"service": "LoadBalancer"}',
    "platform:kubeflow": '{"service": "NodePort"}',
}


@pytest.mark.parametrize("stack", ["azure", "managed", "onprem"])
def test_load_with_passwords_over_plain_http_names_each_service(stack: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(stack, EXPOSED | {"platform:pipelines": "kubeflow"})
    text = str(error.value)
    assert "platform:tracking.service: NodePort, platform:monitoring.service: LoadBalancer" in text
    assert "platform:kubeflow.service: NodePort: its password would cross the network without TLS" in text
    assert "platform:allow_plain_http: true" in text
    # Kubeflow's pages do not exist with the engine `job`.
    with pytest.raises(SettingsError) as error:
        load_settings(stack, EXPOSED | {"platform:pipelines": "job"})
    assert "platform:kubeflow.service" not in str(error.value)


@pytest.mark.parametrize("stack", ["azure", "managed", "onprem"])
def test_load_with_plain_http_allowed_or_cluster_ips_succeeds(stack: str) -> None:
    balanced = {"platform:load_balancer": '{"addresses": "192.0.2.200-192.0.2.219"}'}
    assert load_settings(stack, EXPOSED | balanced | {"platform:allow_plain_http": "true"})
    assert load_settings(stack, balanced | {"platform:monitoring": "{}", "serving:service": "LoadBalancer"})


def test_load_with_blobs_over_plain_http_names_the_address() -> None:
    def blobs(url: str) -> dict[str, str]:
        return {"platform:blobs": json.dumps({"account_url": url, "account_key": "c2VjcmV0"})}

    text = load_error(blobs("http://storage.example.com/flowers"))
    assert "platform:blobs.account_url: http://storage.example.com/flowers: the token of the steps would cross" in text
    assert load_settings("dev", blobs("http://127.0.0.1:10000/flowers"))
    assert load_settings("dev", blobs("https://flowers.blob.core.windows.net"))
    assert load_settings("dev", blobs("http://storage.example.com/flowers") | {"platform:allow_plain_http": "true"})


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("postgresql:///mlflow", "has no host"),
        ("postgresql://me:c2VjcmV0@host:port/mlflow", "has a wrong host or port"),
        ("postgresql://me:c2VjcmV0@[host/mlflow", "has a wrong host or port"),
    ],
)
def test_load_with_a_database_without_a_host_names_the_form_only(url: str, fault: str) -> None:
    text = load_error({"platform:tracking": json.dumps({"database_url": url})})
    assert f"platform:tracking.database_url: {fault}: postgresql://user:password@host:port/database" in text
    assert "c2VjcmV0" not in text


def test_load_of_a_lab_with_load_balancers_succeeds() -> None:
    assert load_settings("lab", EXPOSED | {"platform:pipelines": "kubeflow"})


CERTIFICATE_FILES = json.dumps(dict.fromkeys(("certificate_file", "key_file"), __file__))
DOOR = {
    "platform:door": '{"host": "10.20.0.219"}',
    "platform:tracking": '{"service": "ClusterIP"}',
    "platform:monitoring": '{"service": "ClusterIP"}',
    "serving:service": "ClusterIP",
}
HASH = "$2b$12$" + "a" * 53


def test_load_with_a_door_in_front_of_all_services_succeeds() -> None:
    door = load_settings("lab", DOOR).platform.door
    assert door
    assert (door.service_address, door.session_hours) == ("10.20.0.219", 8)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({"serving:service": "NodePort"}, ["serving:service: NodePort", "would bypass platform:door", "ClusterIP"]),
        ({"platform:tracking": '{"service": "LoadBalancer"}'}, ["platform:tracking.service: LoadBalancer"]),
        ({"platform:door": '{"host": "Example.com"}'}, ["platform:door.host", "Example.com"]),
        ({"platform:door": '{"host": "10.20.0.300"}'}, ["platform:door.host", "10.20.0.300"]),
        ({"platform:door": '{"users": {"Anna": {}}}'}, ["platform:door.users", "Anna"]),
        (
            {"platform:door": f'{{"users": {{"writer": {{"role": "administrator", "password_hash": "{HASH}"}}}}}}'},
            ["users.writer", "programs use this name"],
        ),
        (
            {"platform:door": f'{{"users": {{"anna": {{"password_hash": "{HASH}"}}}}}}'},
            ["there is no administrator", "role: administrator"],
        ),
        (
            {"platform:door": '{"users": {"anna": {"password_hash": "plain-word"}}}'},
            ["platform:door.users.anna.password_hash", "no bcrypt hash", "make user"],
        ),
        (
            {"platform:door": '{"oidc": {"issuer": "http://id.example", "client": "a", "client_secret": "b"}}'},
            ["platform:door.oidc.issuer", "http://id.example", "platform:door.oidc.groups"],
        ),
        (
            {"serving:canary": '{"version": 2, "weight": 10, "mirror": true}'},
            ["serving:canary", "weight and mirror are two ways"],
        ),
        ({"serving:canary": '{"version": 2, "weight": 100}'}, ["serving:canary.weight", "less than or equal to 99"]),
        ({"platform:notebooks": '{"image": "ml/lab:latest"}'}, ["platform:notebooks.image", "ml/lab:latest"]),
        ({"platform:notebooks": '{"image": "r.example.com/lab:latest"}'}, ["tag latest names no version"]),
        ({"platform:notebooks": '{"sizes": {}}'}, ["platform:notebooks.sizes", "at least 1 item"]),
        (
            {"serving:canary": '{"version": 2, "promote": {"after": "1w", "if": {"slower": 0, "errors": 1}}}'},
            ["promote.after: ", "'1w'", "promote.if.slower: ", "promote.if.errors is not a setting"],
        ),
        (
            {"platform:door": '{"acme": {"directory": "http://ca.example", "email": "me", "ca_file": "/no/such"}}'},
            ["acme.directory", "http://ca.example", "acme.email", "acme.ca_file", "no such file"],
        ),
        (
            {"platform:door": '{"host": "127.0.0.1", "acme": {"directory": "https://ca.example/acme"}}'},
            ["platform:door", "acme: the directory ca.example cannot reach a door at 127.0.0.1"],
        ),
        (
            {"platform:door": f'{{"acme": {{"directory": "https://ca.example"}}, "certificate": {CERTIFICATE_FILES}}}'},
            ["platform:door", "certificate and acme are two ways"],
        ),
        (
            {"platform:door": '{"certificate": {"certificate_file": "/no/such", "key_file": "/no/such"}}'},
            ["platform:door.certificate.certificate_file", "no such file"],
        ),
    ],
)
def test_load_with_a_wrong_door_names_the_setting(overrides: dict[str, str], expected: list[str]) -> None:
    message = load_error(merged_door(overrides), "lab")
    assert all(part in message for part in expected), message
    assert "plain-word" not in message


CANARY, GRPC = {"serving:canary": '{"version": 2}'}, {"serving:grpc_port": "5006"}
OTHER_PORT = {PIPELINES: '{"iris-external": {"port": 6000}}'}
UNSERVED = {PIPELINES: '{"iris-external": {"serve": false}}'}


@pytest.mark.parametrize(
    ("stack", "overrides", "expected"),
    [
        ("lab", CANARY | OTHER_PORT, ["serving:canary: ", "every pipeline with serve: true has a port: iris-external"]),
        ("lab", GRPC | OTHER_PORT, ["serving:grpc_port: ", "remove the port of one, or remove serving:grpc_port"]),
        ("dev", GRPC | OTHER_PORT, ["serving:grpc_port: ", "every pipeline with serve: true has a port"]),
        ("lab", GRPC | UNSERVED, ["serving:grpc_port", "no pipeline has serve: true", "or remove serving:grpc_port"]),
        ("dev", CANARY, ["serving:canary: ", "infra:cluster is none; remove serving:canary"]),
        ("dev", {"serving:canary": '{"version": 2, "weight": 5}'}, ["infra:cluster is none; remove serving:canary"]),
        ("lab", DOOR | GRPC, ["serving:grpc_port: 5006 ", "platform:door", "the door forwards no gRPC; remove"]),
    ],
)
def test_load_with_a_canary_or_grpc_that_no_request_reaches_raises(
    stack: str, overrides: dict[str, str], expected: list[str]
) -> None:
    message = load_error(overrides, stack)
    assert all(part in message for part in expected), message


@pytest.mark.parametrize("overrides", [CANARY, GRPC])
def test_load_with_a_canary_or_grpc_of_the_model_at_the_first_port_is_accepted(overrides: dict[str, str]) -> None:
    further = {PIPELINES: '{"wine": {"serve": true, "port": 6000}}'}
    settings = load_settings("lab", overrides | further)
    assert settings.serving.canary or settings.serving.grpc_port


@pytest.mark.parametrize("visibility", ["team", "private"])
def test_load_of_a_door_in_a_network_without_policies_needs_public_models(visibility: str) -> None:
    def given(value: str) -> dict[str, str]:
        models = {"iris-external": {"visibility": value}}
        return DOOR | {"platform:network": "flannel", PIPELINES: json.dumps(models)}

    assert (
        f"workloads:pipelines.iris-external.visibility: {visibility}: platform:network: flannel enforces no "
        "NetworkPolicy, so every pod reaches the model without the door; set platform:network: weave, or "
    ) in load_error(given(visibility), "lab")
    assert load_settings("lab", given("public")).platform.network == "flannel"


def merged_door(overrides: dict[str, str]) -> dict[str, str]:
    door = json.dumps(json.loads(DOOR["platform:door"]) | json.loads(overrides.get("platform:door", "{}")))
    return DOOR | overrides | {"platform:door": door}


def test_load_with_a_door_without_a_cluster_or_address_raises() -> None:
    assert "infra:cluster is none" in load_error({"platform:door": '{"host": "ml.example.com"}'})
    door = {"platform:door": '{"host": "ml.example.com"}', "serving:service": "ClusterIP"}
    assert "set platform:load_balancer" in load_error(door, "onprem")
    weighted = {"serving:canary": '{"version": 2, "weight": 10}'}
    assert "serving:canary: only a door sends requests by weight" in load_error(weighted, "lab")
    assert "platform:notebooks: only a door knows" in load_error({"platform:notebooks": "{}"}, "lab")
    promoted = {"serving:canary": '{"version": 2, "promote": {"after": "1d"}}'}
    assert "serving:canary.promote: decides by measurements; set platform:monitoring" in load_error(promoted, "azure")
    visible = {PIPELINES: '{"iris-external": {"visibility": "public"}}'}
    assert "iris-external.visibility: only a door knows its callers" in load_error(visible)
