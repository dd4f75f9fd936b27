"""The page of a preview: what it lists of the CLI's JSON, and what it leaves out."""

from __future__ import annotations

from typing import Any

from tools.cli.preview_report import page

RUN, CHAMPION = "pulumi-python:dynamic/workloads:PipelineRun", "pulumi-python:dynamic/workloads:Champion"
VM = "azure-native:compute:VirtualMachine"
TRAIN: dict[str, Any] = {"pipeline": "iris-external", "platform": {"baseline": 0.7}, "data": "d1"}


def urn(kind: str, name: str) -> str:
    return f"urn:pulumi:dev::mlplatform::mlplatform:infra:Parent${kind}::{name}"


def step(
    operation: str, kind: str, name: str, old: Any = None, new: Any = None, outputs: Any = None, **more: Any
) -> dict[str, Any]:
    """One step of a preview; `old` and `new` are inputs, `outputs` those before."""
    made: dict[str, Any] = {"op": operation, "urn": urn(kind, name)} | more
    if old is not None:
        made["oldState"] = {"urn": urn(kind, name), "inputs": old, "outputs": outputs or {}}
    if new is not None:
        made["newState"] = {"urn": urn(kind, name), "inputs": new} | more.get("state", {})
    return made


def told(*steps: dict[str, Any], **more: Any) -> str:
    return page("dev", {"steps": list(steps)} | more)


def section(text: str, heading: str) -> list[str]:
    """The lines under a heading; none where it is not there."""
    _, found, rest = text.partition(f"### {heading}\n\n")
    return rest.split("\n\n")[0].splitlines() if found else []


def test_resources_are_listed_by_what_happens_to_them() -> None:
    text = told(
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
        "## Preview of stack `dev`\n\n**3 to create, 1 to update, 1 to replace, 1 to delete**; 7 stay"
    )
    assert section(text, "To create") == [
        "- command:remote:Command: `worker-10-join`, `worker-2-join`",
        "- core/v1:Service: `api`",
    ]
    assert section(text, "To update") == ["- apps/v1:Deployment `server`: spec"]
    assert section(text, "To replace") == ["- compute:VirtualMachine `worker-1`: size"]
    assert section(text, "To delete") == ["- core/v1:Secret: `old`"]


def test_nothing_to_do_is_said_in_a_line() -> None:
    assert told(changeSummary={"same": 7}) == "## Preview of stack `dev`\n\nNothing changes; 7 stay as they are"


def test_two_previews_of_the_same_are_the_same_page() -> None:
    steps = [step("create", "command:remote:Command", name, new={}) for name in ("a", "b", "c")]
    assert told(*steps) == told(*reversed(steps))


def test_values_are_never_shown() -> None:
    old, new = {"connection": {"password": "hunter1"}}, {"connection": {"password": "hunter2"}}
    text = told(step("update", "command:remote:Command", "join", old=old, new=new))
    assert "join`: connection.password" in text
    assert "hunter" not in text


def test_pipelines_that_run_are_told_with_the_reason() -> None:
    again = TRAIN | {"platform": {"baseline": 0.8}, "__provider": "another pickle"}
    text = told(
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


def test_the_model_that_would_serve_is_told() -> None:
    trained = urn(RUN, "again-run")
    text = told(
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


def test_what_the_engine_and_the_policies_say_is_in_it() -> None:
    text = told(
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


def machine(size: str) -> dict[str, Any]:
    disk = {"diskSizeGB": 60, "managedDisk": {"storageAccountType": "Premium_LRS"}}
    return {"hardwareProfile": {"vmSize": size}, "storageProfile": {"osDisk": disk}}


def test_costs_are_those_after_the_plan_and_before() -> None:
    text = told(
        step("refresh", VM, "stays", old=machine("Standard_B1s"), new=machine("Standard_B1s")),
        step("create", VM, "comes", new=machine("Standard_DS2_v2")),
        step("delete", VM, "goes", old=machine("Standard_B1s")),
        step(
            "create",
            "azure-native:compute:Disk",
            "data",
            new={"sku": {"name": "StandardSSD_LRS"}, "diskSizeGB": 50},
        ),
        step("create", "azure-native:network:PublicIPAddress", "address", new={}),
    )
    first, source = section(text, "Costs")
    # 7.59 + 10.21 stay; 106.58 + 10.21, 4.80 and 3.65 come; 7.59 + 10.21 go.
    assert first == "- about $143 a month (now $36)"
    assert "East US" in source


def test_a_size_of_which_no_price_is_known_is_named() -> None:
    text = told(step("create", VM, "comes", new=machine("Standard_M128s")))
    assert section(text, "Costs")[1] == "- without Standard_M128s, of which no price is known here"


def test_a_stack_without_a_cloud_has_no_costs() -> None:
    assert not section(told(step("create", "command:remote:Command", "join", new={})), "Costs")
