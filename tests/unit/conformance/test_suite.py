"""Report of Kubernetes' conformance tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.suite import read_report, run_suite

REPORT = """<testsuites><testsuite>
<testcase name="[SynchronizedBeforeSuite]" status="passed"/>
<testcase name="[It] [sig-apps] Job should run [Conformance]" status="passed"/>
<testcase name="[It] [sig-apps] Job should stop [Conformance]" status="failed">
<failure message="too late&#10;more"/></testcase>
<testcase name="[It] [sig-apps] Job should wait" status="skipped"><skipped/></testcase>
</testsuite></testsuites>"""


def test_report_has_passed_and_failed_tests_and_no_others(tmp_path: Path) -> None:
    file = tmp_path / "junit.xml"
    file.write_text(REPORT)
    results = read_report(file)
    assert list(results.passed) == ["[sig-apps] Job should run [Conformance]"]
    assert results.failed == {"[sig-apps] Job should stop [Conformance]": "too late"}


def test_report_without_a_test_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "junit.xml"
    file.write_text("<testsuites/>")
    with pytest.raises(AssertionError, match="no test has a name that matches"):
        read_report(file)


def test_suite_that_fails_without_a_failed_test_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "passed.xml").write_text('<testcase name="[It] waits" status="passed"/>')
    program = tmp_path / "ginkgo"
    program.write_text("#!/bin/sh\ncp passed.xml junit.xml\nexit 197\n")
    program.chmod(0o755)
    with pytest.raises(AssertionError, match="ended with code 197"):
        run_suite(tmp_path, tmp_path / "kubeconfig", tmp_path, "", [], 1)
