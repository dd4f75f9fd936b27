"""Tests of the report of a preview, from the CLI's JSON."""

from __future__ import annotations

import json
from typing import Any

from tools.cli.previews.preview_report import report

RUN, CHAMPION = "pulumi-python:dynamic/workloads:PipelineRun", "pulumi-python:dynamic/workloads:Champion"
VM = "azure-native:compute:VirtualMachine"
TRAIN: dict[str, Any] = {"pipeline": "iris-external", "platform": {"baseline": 0.7}, "data": "d1"}


def urn(kind: str, name: str) -> str:
    return f"urn:pulumi:dev::mlplatform::mlplatform:infra:Parent${kind}::{name}"


def step(
    operation: str, kind: str, name: str, old: Any = None, new: Any = None, outputs: Any = None, **more: Any
) -> dict[str, Any]:
    """Return a step of a preview: `old` and `new` are inputs, `outputs` belong to the old state."""
    result: dict[str, Any] = {"op": operation, "urn": urn(kind, name)} | more
    if old is not None:
        result["oldState"] = {"urn": urn(kind, name), "inputs": old, "outputs": outputs or {}}
    if new is not None:
        result["newState"] = {"urn": urn(kind, name), "inputs": new} | more.get("state", {})
    return result


def rendered(*steps: dict[str, Any], **more: Any) -> str:
    return report("dev", {"steps": list(steps)} | more)


def section(text: str, heading: str) -> list[str]:
    """Return the lines below a heading, [] without it."""
    _, heading_line, rest = text.partition(f"### {heading}\n\n")
    return rest.split("\n\n")[0].splitlines() if heading_line else []


def test_report_lists_resources_by_operation() -> None:
    text = rendered(
        step("create", "command:remote:Command", "worker-2-join", new={}),
        step("create", "command:remote:Command", "worker-10-join", new={}),
        step("create", "kubernetes:core/v1:Service", "api", new={}),
        step("update", "kubernetes:apps/v1:Deployment", "server", old={"spec": {"replicas": 1}, "a": 1}, new={"a": 1}),
        step("replace", VM, "worker-1", old={"size": 1}, new={"size": 2}, replaceReasons=["size"]),
        step("create-replacement", VM, "worker-1", old={"size": 1}, new={"size": 2}),
        step("delete-replaced", VM, "worker-1", old={"size": 1}),
        step("delete", "kubernetes:core/v1:Secret", "old", old={}),
        step("same", "pulumi:pulumi:Stack", "mlplatform-dev", old={}, new={}),
        step("create", "pulumi:providers:kubernetes", "default", new={}),
        changeSummary={"same": 7},
    )
    assert text.startswith(
        "## Preview of stack `dev`\n\n**3 to create, 1 to update, 1 to replace, 1 to delete**; 7 unchanged"
    )
    assert section(text, "To create") == [
        "- command:remote:Command: `worker-10-join`, `worker-2-join`",
        "- core/v1:Service: `api`",
    ]
    assert section(text, "To update") == ["- apps/v1:Deployment `server`: spec"]
    assert section(text, "To replace") == ["- compute:VirtualMachine `worker-1`: size"]
    assert section(text, "To delete") == ["- core/v1:Secret: `old`"]


def test_report_without_changes_is_one_line() -> None:
    assert rendered(changeSummary={"same": 7}) == "## Preview of stack `dev`\n\nNothing changes; 7 unchanged"


def test_report_does_not_depend_on_the_order_of_steps() -> None:
    steps = [step("create", "command:remote:Command", name, new={}) for name in ("a", "b", "c")]
    assert rendered(*steps) == rendered(*reversed(steps))


def test_report_has_no_values() -> None:
    old, new = {"connection": {"password": "hunter1"}}, {"connection": {"password": "hunter2"}}
    text = rendered(step("update", "command:remote:Command", "join", old=old, new=new))
    assert "join`: connection.password" in text
    assert "hunter" not in text


def test_report_lists_pipelines_that_run_with_the_reason() -> None:
    again = TRAIN | {"platform": {"baseline": 0.8}, "__provider": "a new pickle"}
    text = rendered(
        step("create", RUN, "new-run", new={"pipeline": "iris-local"}),
        step("update", RUN, "again-run", old=TRAIN, new=again),
        step("refresh", RUN, "same-run", old=TRAIN, new=TRAIN),
        step("delete", RUN, "gone-run", old=TRAIN),
    )
    assert section(text, "Pipelines that run") == [
        "- `iris-external` again: platform.baseline changed",
        "- `iris-local` for the first time",
    ]


def champion(operation: str, model: str, dependency: str, version: str = "", pinned: str = "") -> dict[str, Any]:
    inputs = {"model": model, "pinned": pinned}
    old = {"outputs": {"version": version}, "old": inputs} if version else {}
    return step(operation, CHAMPION, f"{model}-champion", new=inputs, state={"dependencies": [dependency]}, **old)


def test_report_lists_the_models_that_would_serve() -> None:
    trained = urn(RUN, "again-run")
    text = rendered(
        step("update", RUN, "again-run", old=TRAIN, new=TRAIN | {"data": "d2"}),
        champion("create", "a", trained),
        champion("update", "b", trained, version="3"),
        champion("refresh", "c", urn(RUN, "same-run"), version="4"),
        champion("update", "d", trained, version="5", pinned="2"),
    )
    assert section(text, "Models that would serve") == [
        "- `a`: the version that its pipeline registers if it passes its gate, else no version yet",
        "- `b`: the version that its pipeline registers if it passes its gate, else version 3",
        "- `c`: version 4, as before",
        "- `d`: version 2, as its settings pin it (now version 5)",
    ]


def test_report_shows_gate_and_score_of_the_models() -> None:
    gate = [{"metric": "rmse", "below": 3.5, "better_than_champion": True}]
    trained = urn(RUN, "again-run")

    def wine(name: str, dependency: str, before: Any, after: Any) -> dict[str, Any]:
        inputs = {"model": name, "pinned": ""}
        outputs = {"version": "3", "metrics": {"rmse": 3.41234}}
        more = {"outputs": outputs, "state": {"dependencies": [dependency]}}
        return step("update", CHAMPION, name, old=inputs | {"gate": before}, new=inputs | {"gate": after}, **more)

    text = rendered(
        step("update", RUN, "again-run", old=TRAIN, new=TRAIN | {"data": "d2"}),
        wine("a", trained, gate, gate),
        wine("b", urn(RUN, "same-run"), [], gate),
    )
    described = "rmse below 3.5 and better than the champion"
    passes = f"if it passes its gate, {described},"
    assert section(text, "Models that would serve") == [
        f"- `a`: the version that its pipeline registers {passes} else version 3 (rmse 3.41)",
        f"- `b`: version 3 (rmse 3.41); the new gate, {described}, is for later versions",
    ]


def test_report_says_who_gains_and_loses_which_right() -> None:
    old: dict[str, Any] = {
        "users": {"anna": "administrator", "sam": "reader", "tom": "editor"},
        "groups": {},
        "models": {"iris": "team", "rose": "public"},
    }
    new = old | {
        "users": {"anna": "administrator", "sam": "editor"},
        "owners": {"iris": "shop"},
        "teams": {"names": {"shop": True}, "people": {"sam": "shop"}, "groups": {"staff": "shop,science"}},
    }
    states = [{"data": {"access.json": json.dumps(rules)}} for rules in (old, new)]
    text = rendered(step("update", "kubernetes:core/v1:ConfigMap", "door", *states))
    assert section(text, "Rights at the door") == [
        "- `sam`: editor, member of shop (now: reader)",
        "- `tom`: no right (now: editor)",
        "- members of the group `staff`: member of shop, science (now: no right)",
        "- model `iris`: for the team shop (now: every person who signs in)",
    ]
    first = rendered(step("create", "kubernetes:core/v1:ConfigMap", "door", new=states[0]))
    assert "- model `rose`: for all clients (now: no caller)" in section(first, "Rights at the door")
    assert section(rendered(step("same", "kubernetes:core/v1:ConfigMap", "door", *states)), "Rights at the door") == []


def test_report_says_which_container_a_team_gains_and_loses() -> None:
    token = "pulumi-python:dynamic/platform:ContainerToken"
    shop, science = ({"container": f"{team}-data", "account_key": "secret"} for team in ("shop", "science"))
    text = rendered(
        step("create", token, "shop/blob-token", new=shop),
        step("update", token, "lab/blob-token", old=shop, new=science),
        step("delete", token, "science/blob-token", old=science),
        step("update", token, "renewed/blob-token", old=science, new=science),
        step("create", token, "blob-token", new=shop),
    )
    assert section(text, "Rights at the door") == [
        "- steps and notebooks of the team `lab`: read the container `science-data` (now: read the container "
        "`shop-data`)",
        "- steps and notebooks of the team `science`: no right (now: read the container `science-data`)",
        "- steps and notebooks of the team `shop`: read the container `shop-data` (now: no right)",
    ]


def test_report_has_the_messages_of_the_engine_and_the_policies() -> None:
    text = rendered(
        diagnostics=[
            {"severity": "error", "message": "error: it broke\nat line 3\n"},
            {"severity": "warning", "message": "warning: take care\n"},
            {"severity": "warning", "message": "warning: take care\n"},
            {"severity": "warning", "message": "warning: using pulumi-resource-command from $PATH at /tools\n"},
        ],
        policyEvents=[
            {
                "enforcementLevel": "mandatory",
                "policyName": "no-root",
                "resourceUrn": urn("kubernetes:core/v1:Pod", "p"),
                "message": "No container runs as root\ncontainer c may run as root\n",
            }
        ],
    )
    assert "**It fails**" in text
    assert section(text, "Errors") == ["- it broke", "  at line 3"]
    assert section(text, "Warnings") == ["- take care"]
    assert section(text, "Policies") == ["- mandatory `no-root`, `p`: container c may run as root"]


def test_report_shows_no_price() -> None:
    disk = {"diskSizeGB": 60, "managedDisk": {"storageAccountType": "Premium_LRS"}}
    machine = {"hardwareProfile": {"vmSize": "Standard_DS2_v2"}, "storageProfile": {"osDisk": disk}}
    text = rendered(step("create", VM, "worker-1", new=machine))
    assert "1 to create" in text
    assert "$" not in text
    assert not section(text, "Costs")
