"""A preview by the Pulumi CLI, held against the policies, as data."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.bootstrap.paths import PROJECT
from tools.cli.pulumi_command import Pulumi

POLICIES = PROJECT / "policies"


def preview(pulumi: Pulumi, more: Sequence[str]) -> tuple[int, dict[str, Any]]:
    """The CLI's exit code, and what it planned: its JSON, with violated policies as `policyEvents`.

    Raises:
        PulumiFailed: it planned nothing at all.
    """
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "events"
        arguments = ("preview", "--json", "--policy-pack", str(POLICIES), "--event-log", str(log), *more)
        # The CLI's JSON leaves out what policies say. Its log of events does not, an option that it has for debugging.
        finished = pulumi.answer(*arguments, PULUMI_DEBUG_COMMANDS="true")
        try:
            found = json.loads(finished.stdout)
        except ValueError:
            raise pulumi.failure(arguments[:1], finished) from None
        events = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    return finished.returncode, found | {"policyEvents": [e["policyEvent"] for e in events if "policyEvent" in e]}
