"""Kubernetes' conformance tests on a lab; see docs/reference/conformance.md.

`make conformance` sets the variable FOCUS.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from airgap.conformance import build_conformance_tests
from tests.harness import Stack
from tests.lab.conftest import cluster_of
from tests.lab.stacks import lab_stacks

from .skipped import SKIPPED
from .suite import run_suite

MINUTES = 180


@pytest.fixture(scope="module")
def programs() -> Path:
    return build_conformance_tests()


@pytest.fixture(scope="module")
def stack(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Yield a lab without workloads. Its registry has the images of the tests."""
    with lab_stacks(tmp_path_factory) as make:
        stack = make("conformance")
        for name in ("workloads:pipelines", "platform:blobs", "platform:monitoring"):
            del stack.settings[name]
        stack.up()
        yield stack


@pytest.mark.timeout(4 * 3600)
def test_conformance_tests_pass(
    stack: Stack, programs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kubeconfig = cluster_of(stack, tmp_path).kubeconfig
    with capsys.disabled():
        print(f"\n  the log is {tmp_path / 'e2e.log'}", flush=True)
    results = run_suite(programs, kubeconfig, tmp_path, os.environ.get("FOCUS", ""), list(SKIPPED), MINUTES)
    with capsys.disabled():
        print(f"\n  {len(results.passed)} tests passed, {len(results.failed)} failed")
        for name, reason in results.failed.items():
            print(f"  failed: {name}: {reason}")
    assert not results.failed
