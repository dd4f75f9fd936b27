"""Report of Kubernetes' conformance tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.suite import read_report

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
