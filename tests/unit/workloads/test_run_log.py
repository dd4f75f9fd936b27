"""Log of a run in a cluster, read in overlapping pieces."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from workloads.engines.base import RunRequest
from workloads.engines.job.pod_follower import PodFollower
from workloads.engines.pod_entrypoint import decode_result, encode_result
from workloads.engines.step_progress import StepProgress

PROGRESS = StepProgress(RunRequest("iris", "iris-1", "1", {}), Path("/nowhere"))
RESULT = {"state": "SUCCEEDED", "outputs": {"accuracy": 0.9}, "steps": [], "failed_step": None, "error": ""}


def test_process_with_overlapping_reads_writes_each_line_once() -> None:
    out = io.StringIO()
    follower = PodFollower(PROGRESS, out)
    first = "2026-11-25T10:00:00.1Z one\n2026-11-25T10:00:00.12Z two\n"
    log = follower.log_of("pod-a")
    follower.process(log.new_lines(first))
    follower.process(log.new_lines(first + "2026-11-25T10:00:00.120000001Z three\n2026-11-25T10:00:01Z four\n"))
    assert out.getvalue() == "one\ntwo\nthree\nfour\n"


def test_log_of_a_new_pod_starts_again() -> None:
    out = io.StringIO()
    follower = PodFollower(PROGRESS, out)
    follower.process(follower.log_of("pod-a").new_lines("2026-11-25T10:05:00Z lost\n"))
    log = follower.log_of("pod-b")
    assert log.since_seconds() is None
    follower.process(log.new_lines("2026-11-25T10:04:00Z again\n"))
    assert list(follower.last_lines) == ["again"]
    assert follower.log_of("pod-b").since_seconds() == pytest.approx(10, abs=2)


def test_process_with_a_result_line_keeps_it_out_of_the_log() -> None:
    out = io.StringIO()
    follower = PodFollower(PROGRESS, out)
    lines = f"2026-11-25T10:00:00Z train: SUCCEEDED in 3.1 s\n2026-11-25T10:00:01Z {encode_result(RESULT)}\n"
    follower.process(follower.log_of("pod").new_lines(lines))
    assert follower.result == RESULT == decode_result(encode_result(RESULT))
    assert out.getvalue() == "train: SUCCEEDED in 3.1 s\n"
