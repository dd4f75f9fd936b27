"""A preview by the Pulumi CLI, checked against the policies, as data."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.bootstrap.paths import PROJECT
from tools.cli.pulumi_command import Pulumi

POLICIES = PROJECT / "policies"
LINEAR = {"PULUMI_SKIP_CHECKPOINTS": "true"}
"""Environment of a preview, which stores no state. Without it, the CLI serializes all resources after each resource."""


def preview(pulumi: Pulumi, more: Sequence[str]) -> tuple[int, dict[str, Any]]:
    """Run a preview and return the CLI's exit code and JSON, with violated policies added as `policyEvents`.

    Raises:
        PulumiError: The CLI printed no plan.
    """
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "events"
        arguments = ("preview", "--json", "--policy-pack", str(POLICIES), "--event-log", str(log), *more)
        # The CLI's JSON lacks the violations. Its event log has them, but the option needs the CLI's debug commands.
        finished = pulumi.execute(*arguments, PULUMI_DEBUG_COMMANDS="true", **LINEAR)
        try:
            plan = json.loads(finished.stdout)
        except ValueError:
            raise pulumi.error(arguments[:1], finished) from None
        events = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return finished.returncode, plan | {"policyEvents": [e["policyEvent"] for e in events if "policyEvent" in e]}
