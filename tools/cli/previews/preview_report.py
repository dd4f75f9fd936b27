"""A Markdown report of a preview, for `make preview` and the comments of pull requests.

It names resources and properties but never shows values, because a value may be a secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from settings.metrics import describe_gate
from tools.cli.previews.right_changes import RULES_FILE, container_changes, right_changes

State = Mapping[str, Any]

OPERATIONS = ("create", "update", "replace", "delete")
"""The engine's names. The creation and the deletion within a replacement are not listed separately."""
SHORTENED_PACKAGES = ("pulumi-python:dynamic/", "azure-native:", "kubernetes:")
RUN, CHAMPION, TOKEN = "workloads:PipelineRun", "workloads:Champion", "platform:ContainerToken"


@dataclass(frozen=True)
class Planned:
    """A resource and its planned operation: one of OPERATIONS, or "" for no change."""

    urn: str
    operation: str
    before: State
    after: State
    reasons: Sequence[str]
    """Names of the changed properties as the provider reports them; empty if it reports none."""

    @property
    def kind(self) -> str:
        """The type without the types of its parents, as in `network:Subnet`."""
        kind = self.urn.split("::")[2].rsplit("$")[-1]
        return next((kind.removeprefix(each) for each in SHORTENED_PACKAGES if kind.startswith(each)), kind)

    @property
    def name(self) -> str:
        """The resource's name."""
        return self.urn.split("::", 3)[3]

    @property
    def inputs(self) -> State:
        """The planned inputs, or the last ones of a resource to delete."""
        return dict((self.after or self.before).get("inputs") or {})

    @property
    def changed(self) -> list[str]:
        """Names of changed inputs."""
        if self.reasons:
            return sorted(self.reasons)
        old, new = (dict(state.get("inputs") or {}) for state in (self.before, self.after))
        return [name for key in sorted(old.keys() | new.keys()) for name in _changed(key, old.get(key), new.get(key))]


def planned_resources(preview: Mapping[str, Any]) -> list[Planned]:
    """Return each resource of a preview once, sorted by type and name.

    A preview lists a resource twice: with the result of the refresh, then with the planned operation.
    """
    planned: dict[str, Planned] = {}
    for step in preview.get("steps", ()):
        urn, operation = str(step["urn"]), str(step["op"])
        kind = urn.split("::")[2].rsplit("$")[-1]
        if kind.startswith("pulumi:") or operation not in (*OPERATIONS, "same", "refresh"):
            continue
        refreshed = planned.get(urn)
        before = step.get("oldState") or (refreshed.before if refreshed else {})
        reasons = step.get("replaceReasons") or step.get("diffReasons") or step.get("detailedDiff") or ()
        after = {} if operation == "delete" else step.get("newState") or {}
        planned[urn] = Planned(urn, operation if operation in OPERATIONS else "", before, after, list(reasons))
    # The engine's order changes between runs; a comment must not.
    return sorted(planned.values(), key=lambda each: (each.kind, each.name))


def report(stack: str, preview: Mapping[str, Any]) -> str:
    """Return the report of a stack's preview.

    Args:
        stack: the stack's name.
        preview: the CLI's JSON, as `tools.cli.previews.preview` returns it.
    """
    return "\n".join(_lines(stack, preview, planned_resources(preview)))


def _lines(stack: str, preview: Mapping[str, Any], resources: Sequence[Planned]) -> Iterator[str]:
    yield f"## Preview of stack `{stack}`"
    yield ""
    errors = list(_messages(preview, "error"))
    yield "**It fails**" if errors else _counts(preview, resources)
    yield from _section("Errors", errors)
    yield from _section("Policies", [_violation(event) for event in preview.get("policyEvents", ())])
    yield from _section("To create", _by_kind(resources, "create"))
    yield from _section("To update", [_with_reasons(each) for each in resources if each.operation == "update"])
    yield from _section("To replace", [_with_reasons(each) for each in resources if each.operation == "replace"])
    yield from _section("To delete", _by_kind(resources, "delete"))
    yield from _section("Pipelines that run", list(_runs(resources)))
    yield from _section("Models that would serve", list(_models(resources)))
    yield from _section("Rights at the door", list(_rights(resources)))
    yield from _section("Warnings", list(_messages(preview, "warning")))


def _counts(preview: Mapping[str, Any], resources: Sequence[Planned]) -> str:
    operations = [each.operation for each in resources]
    counts = ", ".join(f"{operations.count(name)} to {name}" for name in OPERATIONS if name in operations)
    same = preview.get("changeSummary", {}).get("same", 0)
    return (f"**{counts}**" if counts else "Nothing changes") + (f"; {same} unchanged" if same else "")


def _section(heading: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield from ("", f"### {heading}", "", *(f"- {line}" for line in lines))


def _by_kind(resources: Sequence[Planned], operation: str) -> list[str]:
    """Return a line for each type, with the names of its resources."""
    names: dict[str, list[str]] = {}
    for each in resources:
        if each.operation == operation:
            names.setdefault(each.kind, []).append(f"`{each.name}`")
    return [f"{kind}: {', '.join(of_kind)}" for kind, of_kind in names.items()]


def _with_reasons(planned: Planned) -> str:
    return f"{planned.kind} `{planned.name}`" + (f": {', '.join(planned.changed)}" if planned.changed else "")


def _changed(name: str, old: Any, new: Any) -> list[str]:
    """Return the name of an input if it has changed; for a mapping, the names of its changed keys."""
    if old == new or name.startswith("__"):  # the engine's internal inputs
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        return [f"{name}.{key}" for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    return [name]


def _runs(resources: Sequence[Planned]) -> Iterator[str]:
    for run in resources:
        if run.kind == RUN and run.operation == "create":
            yield f"`{run.inputs['pipeline']}` for the first time"
        elif run.kind == RUN and run.operation in ("update", "replace"):
            yield f"`{run.inputs['pipeline']}` again: {', '.join(run.changed) or 'a dependency'} changed"


def _models(resources: Sequence[Planned]) -> Iterator[str]:
    running = {each.urn for each in resources if each.kind == RUN and each.operation in ("create", "update", "replace")}
    for champion in resources:
        if champion.kind != CHAMPION or champion.operation == "delete":
            continue
        outputs = champion.before.get("outputs") or {}
        current = f"version {outputs['version']}{_scores(outputs)}" if outputs.get("version") else "no version yet"
        gate = champion.inputs.get("gate") or ()
        if "gate" in champion.changed and not running & set(champion.after.get("dependencies") or ()):
            yield f"`{champion.inputs['model']}`: {current}; the new gate, {describe_gate(gate)}, is for later versions"
            continue
        if pinned := champion.inputs.get("pinned"):
            planned = f"version {pinned}, as its settings pin it (now {current})"
        elif running & set(champion.after.get("dependencies") or ()):
            condition = f"its gate, {describe_gate(gate)}" if gate else "its gate"
            planned = f"the version that its pipeline registers if it passes {condition}, else {current}"
        else:
            planned = f"{current}, as before"
        yield f"`{champion.inputs['model']}`: {planned}"


def _rights(resources: Sequence[Planned]) -> Iterator[str]:
    for each in resources:
        states = [dict(state.get("inputs") or {}) for state in (each.before, each.after)]
        if each.operation and any(RULES_FILE in (state.get("data") or {}) for state in states):
            yield from right_changes(*states)
        elif each.operation and each.kind == TOKEN:
            yield from container_changes(each.name, *states)


def _scores(outputs: State) -> str:
    """Return the main metric of a champion in brackets, "" if the state does not have it."""
    scores = ", ".join(f"{name} {value:.3g}" for name, value in (outputs.get("metrics") or {}).items())
    return f" ({scores})" if scores else ""


def _violation(event: Mapping[str, Any]) -> str:
    """Return a line for a violation: the event's message has the policy's description, then the violation."""
    description, _, violation = str(event["message"]).strip().partition("\n")
    name = str(event["resourceUrn"]).split("::")[-1]
    return f"{event['enforcementLevel']} `{event['policyName']}`, `{name}`: {violation or description}"


def _messages(preview: Mapping[str, Any], severity: str) -> Iterator[str]:
    """Yield each message once, without the CLI's warning about a stand-in plugin on PATH."""
    texts = [str(each["message"]) for each in preview.get("diagnostics", ()) if each["severity"] == severity]
    for text in dict.fromkeys(texts):
        if " from $PATH at " not in text:
            yield text.strip().removeprefix(f"{severity}:").strip().replace("\n", "\n  ")
