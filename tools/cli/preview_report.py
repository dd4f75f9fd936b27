"""What a preview plans, told to a person: from what `tools.cli.preview` returns to a page of Markdown.

A pull request's comment and `make preview` show the same page. It names resources and properties, never their values: a
value may be a secret.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tools.cli import costs

State = Mapping[str, Any]

VERBS = ("create", "update", "replace", "delete")
"""What the engine calls it; the creation and the deletion that a replacement consists of are no verbs of their own."""
KNOWN_PACKAGES = ("pulumi-python:dynamic/", "azure-native:", "kubernetes:")
RUN, CHAMPION = "workloads:PipelineRun", "workloads:Champion"


@dataclass(frozen=True)
class Planned:
    """A resource, and what is planned for it: one of VERBS, or nothing where it stays as it is."""

    urn: str
    verb: str
    before: State
    after: State
    reasons: Sequence[str]
    """What the provider says has changed, if it says so."""

    @property
    def kind(self) -> str:
        """As in `network:Subnet`, without its parents' types."""
        kind = self.urn.split("::")[2].rsplit("$")[-1]
        return next((kind.removeprefix(each) for each in KNOWN_PACKAGES if kind.startswith(each)), kind)

    @property
    def name(self) -> str:
        return self.urn.split("::", 3)[3]

    @property
    def inputs(self) -> State:
        """Those that it is to have, or had before its deletion."""
        return dict((self.after or self.before).get("inputs") or {})

    @property
    def changed(self) -> list[str]:
        """Names of inputs that are others than before."""
        if self.reasons:
            return sorted(self.reasons)
        old, new = (dict(state.get("inputs") or {}) for state in (self.before, self.after))
        return [name for key in sorted(old.keys() | new.keys()) for name in _differing(key, old.get(key), new.get(key))]


def resources(preview: Mapping[str, Any]) -> list[Planned]:
    """The resources of a preview, once each: what was found by its refresh under what is planned then."""
    found: dict[str, Planned] = {}
    for step in preview.get("steps", ()):
        urn, verb = str(step["urn"]), str(step["op"])
        if not urn.split("::")[2].rsplit("$")[-1].startswith("pulumi:") and verb in (*VERBS, "same", "refresh"):
            known = found.get(urn)
            before = step.get("oldState") or (known.before if known else {})
            reasons = step.get("replaceReasons") or step.get("diffReasons") or step.get("detailedDiff") or ()
            after = {} if verb == "delete" else step.get("newState") or {}
            found[urn] = Planned(urn, verb if verb in VERBS else "", before, after, list(reasons))
    # The engine's order is another one each time.
    return sorted(found.values(), key=lambda each: (each.kind, each.name))


def page(stack: str, preview: Mapping[str, Any]) -> str:
    """The preview of a stack as Markdown."""
    return "\n".join(_lines(stack, preview, resources(preview)))


def _lines(stack: str, preview: Mapping[str, Any], found: Sequence[Planned]) -> Iterator[str]:
    yield f"## Preview of stack `{stack}`"
    yield ""
    faults = list(_messages(preview, "error"))
    yield "**It fails**" if faults else _counted(preview, found)
    yield from _section("Errors", faults)
    yield from _section("Policies", [_violation(event) for event in preview.get("policyEvents", ())])
    yield from _section("To create", _by_kind(found, "create"))
    yield from _section("To update", [_with_reasons(each) for each in found if each.verb == "update"])
    yield from _section("To replace", [_with_reasons(each) for each in found if each.verb == "replace"])
    yield from _section("To delete", _by_kind(found, "delete"))
    yield from _section("Pipelines that run", list(_runs(found)))
    yield from _section("Models that would serve", list(_models(found)))
    yield from _section("Costs", costs.hints([(each.kind, each.before, each.after) for each in found]))
    yield from _section("Warnings", list(_messages(preview, "warning")))


def _counted(preview: Mapping[str, Any], found: Sequence[Planned]) -> str:
    verbs = [each.verb for each in found]
    told = ", ".join(f"{verbs.count(verb)} to {verb}" for verb in VERBS if verb in verbs)
    same = preview.get("changeSummary", {}).get("same", 0)
    return (f"**{told}**" if told else "Nothing changes") + (f"; {same} stay as they are" if same else "")


def _section(heading: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield from ("", f"### {heading}", "", *(f"- {line}" for line in lines))


def _by_kind(found: Sequence[Planned], verb: str) -> list[str]:
    """One line a type, with the names of its resources."""
    names: dict[str, list[str]] = {}
    for each in found:
        if each.verb == verb:
            names.setdefault(each.kind, []).append(f"`{each.name}`")
    return [f"{kind}: {', '.join(of_kind)}" for kind, of_kind in names.items()]


def _with_reasons(planned: Planned) -> str:
    return f"{planned.kind} `{planned.name}`" + (f": {', '.join(planned.changed)}" if planned.changed else "")


def _differing(name: str, old: Any, new: Any) -> list[str]:
    if old == new or name.startswith("__"):  # the engine's own
        return []
    if isinstance(old, dict) and isinstance(new, dict):
        return [f"{name}.{key}" for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]
    return [name]


def _runs(found: Sequence[Planned]) -> Iterator[str]:
    for run in found:
        if run.kind == RUN and run.verb == "create":
            yield f"`{run.inputs['pipeline']}` for the first time"
        elif run.kind == RUN and run.verb in ("update", "replace"):
            yield f"`{run.inputs['pipeline']}` again: {', '.join(run.changed) or 'what it depends on'} changed"


def _models(found: Sequence[Planned]) -> Iterator[str]:
    running = {each.urn for each in found if each.kind == RUN and each.verb in ("create", "update", "replace")}
    for champion in found:
        if champion.kind != CHAMPION or champion.verb == "delete":
            continue
        version = (champion.before.get("outputs") or {}).get("version")
        now = f"version {version}" if version else "no version yet"
        if pinned := champion.inputs.get("pinned"):
            told = f"version {pinned}, as its settings pin it (now {now})"
        elif running & set(champion.after.get("dependencies") or ()):
            told = f"the version that its pipeline registers if it passes its gate, else {now}"
        else:
            told = f"{now}, as before"
        yield f"`{champion.inputs['model']}`: {told}"


def _violation(event: Mapping[str, Any]) -> str:
    """The first line of an event's message is the policy's description, the rest what is wrong here."""
    described, _, found = str(event["message"]).strip().partition("\n")
    name = str(event["resourceUrn"]).split("::")[-1]
    return f"{event['enforcementLevel']} `{event['policyName']}`, `{name}`: {found or described}"


def _messages(preview: Mapping[str, Any], severity: str) -> Iterator[str]:
    """Each message once; that a stand-in was found on PATH is no news to who reviews a change."""
    texts = [str(each["message"]) for each in preview.get("diagnostics", ()) if each["severity"] == severity]
    for text in dict.fromkeys(texts):
        if " from $PATH at " not in text:
            yield text.strip().removeprefix(f"{severity}:").strip().replace("\n", "\n  ")
