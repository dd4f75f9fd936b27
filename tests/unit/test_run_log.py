"""The log of a run in a cluster: read in pieces that overlap, it is written down once."""

from __future__ import annotations

import io

import pytest

from workloads.engines.job.pod_follower import Follower
from workloads.engines.pod_entrypoint import decoded, encoded

RESULT = {"state": "SUCCEEDED", "outputs": {"accuracy": 0.9}, "steps": [], "failed_step": None, "error": ""}


def test_a_line_that_is_read_twice_is_written_once() -> None:
    out = io.StringIO()
    follower = Follower("iris", out)
    first = "2026-11-25T10:00:00.1Z one\n2026-11-25T10:00:00.12Z two\n"
    log = follower.log_of("pod-a")
    follower.take(log.new_lines(first))
    follower.take(log.new_lines(first + "2026-11-25T10:00:00.120000001Z three\n2026-11-25T10:00:01Z four\n"))
    assert out.getvalue() == "one\ntwo\nthree\nfour\n"


def test_a_run_that_began_again_in_another_pod_tells_its_own_story() -> None:
    out = io.StringIO()
    follower = Follower("iris", out)
    follower.take(follower.log_of("pod-a").new_lines("2026-11-25T10:05:00Z lost\n"))
    log = follower.log_of("pod-b")
    assert log.since_seconds() is None
    follower.take(log.new_lines("2026-11-25T10:04:00Z again\n"))
    assert list(follower.last) == ["again"]
    assert follower.log_of("pod-b").since_seconds() == pytest.approx(10, abs=2)


def test_the_result_comes_as_it_was_and_does_not_stand_in_the_log() -> None:
    out = io.StringIO()
    follower = Follower("iris", out)
    lines = f"2026-11-25T10:00:00Z train: SUCCEEDED in 3.1 s\n2026-11-25T10:00:01Z {encoded(RESULT)}\n"
    follower.take(follower.log_of("pod").new_lines(lines))
    assert follower.result == RESULT == decoded(encoded(RESULT))
    assert out.getvalue() == "train: SUCCEEDED in 3.1 s\n"
