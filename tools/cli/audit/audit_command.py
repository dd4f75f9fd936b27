"""`make audit`: entries of the audit log of a stack."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from mlplatform.audit_log.audit_store import AuditSearch

from tools.cli.audit.audit_entries import audit_log, record_champions
from tools.cli.cluster_access import secret_outputs, tracking_output
from tools.cli.model_history import utc_time
from tools.cli.pulumi_command import Pulumi

COLUMNS = ("user", "action", "target", "team", "address", "detail")


def audit(pulumi: Pulumi, arguments: Sequence[str]) -> int:
    """Print entries, the newest last, and return the exit code.

    Raises:
        AccessError: the stack does not exist, or its audit log or MLflow does not respond.
    """
    parser = argparse.ArgumentParser(prog="make audit", allow_abbrev=False)
    parser.add_argument("--user", default="", help="print the entries of this person or token.<id> only")
    parser.add_argument("--since", type=utc_time, help="print entries since a time, such as 2026-11-28T20:15 (UTC)")
    parser.add_argument("--contains", default="", help="print entries that contain this text")
    parser.add_argument("--limit", type=int, default=200, help="print so many entries, the newest ones")
    options = parser.parse_args(arguments)
    outputs = secret_outputs(pulumi)
    tracking_output(outputs, pulumi.stack)
    record_champions(pulumi.name, outputs)
    since = options.since.timestamp() if options.since else 0
    with audit_log(pulumi.name, outputs) as log:
        found = log.search(AuditSearch(options.user, since, options.contains, options.limit))
    for line in entry_lines(found):
        print(line)
    return 0


def entry_lines(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each entry, the oldest first."""
    if not entries:
        yield "no entries"
    for entry in reversed(entries):
        words = [f"{datetime.fromtimestamp(entry['time'], UTC):%Y-%m-%d %H:%M:%S}"]
        words += [str(entry[column]) for column in COLUMNS if entry[column]]
        yield "  ".join([*words, *([f"{entry['count']} times"] if entry["count"] > 1 else [])])
