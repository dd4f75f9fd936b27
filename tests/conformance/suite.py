"""Kubernetes' conformance tests as a process, and the results that they report."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

CONFORMANCE = r"\[Conformance\]"
PROCESSES = 4
"""Tests at the same time. Tests that need the cluster alone run one after the other at the end."""
REPORT = "junit.xml"


@dataclass(frozen=True)
class Results:
    """Names of the tests that passed, and the failed ones with the first line of their reason."""

    passed: Sequence[str]
    failed: Mapping[str, str]


def run_suite(programs: Path, kubeconfig: Path, folder: Path, focus: str, skip: Sequence[str], minutes: int) -> Results:
    """Run the tests whose names match.

    Args:
        programs: folder with `e2e.test` and `ginkgo`.
        kubeconfig: the cluster.
        folder: folder for the log `e2e.log` and the report.
        focus: regular expression of names.
        skip: regular expressions of names that do not run.
        minutes: the tests that have not ended by then have failed.

    Raises:
        AssertionError: there is no report, or the suite failed without a failed test, such as by its time limit.
    """
    options = [
        *(f"--procs={PROCESSES}", f"--timeout={minutes}m", f"--focus={CONFORMANCE}.*{focus}|{focus}.*{CONFORMANCE}"),
        *(f"--skip={each}" for each in skip),
        *("--no-color", f"--junit-report={REPORT}", f"--output-dir={folder}"),
    ]
    suite = [
        *("--provider=skeleton", f"--kubeconfig={kubeconfig}", "--disable-log-dump"),
        "--non-blocking-taints=node-role.kubernetes.io/control-plane",
    ]
    command = [str(programs / "ginkgo"), *options, str(programs / "e2e.test"), "--", *suite]
    with (folder / "e2e.log").open("wb") as log:
        ended = subprocess.run(command, cwd=folder, env=os.environ | {"HOME": str(folder)}, stdout=log, stderr=log)
    results = read_report(folder / REPORT)
    assert results.failed or ended.returncode == 0, f"the tests ended with code {ended.returncode}; see {log.name}"
    return results


def read_report(file: Path) -> Results:
    """Return the results of a report in JUnit's format.

    Raises:
        AssertionError: there is no report, or it has no test.
    """
    assert file.exists(), f"the tests wrote no report; see {file.parent / 'e2e.log'}"
    passed, failed = [], {}
    for case in ElementTree.parse(file).iter("testcase"):
        if not (match := re.match(r"\[It\] (.*)", case.get("name", ""))):
            continue  # a part of the suite that is no test
        name = match.group(1)
        reasons = [*case.iter("failure"), *case.iter("error")]
        if reasons:
            failed[name] = (reasons[0].get("message") or reasons[0].text or "").strip().partition("\n")[0]
        elif case.get("status") == "passed":
            passed.append(name)
    assert passed or failed, "no test has a name that matches"
    return Results(passed, failed)
