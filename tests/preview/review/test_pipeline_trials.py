"""Trials of changed pipelines: which ones run, and what a line says about a run."""

from __future__ import annotations

from typing import Any

from tests.preview.review.test_preview_report import CHAMPION, RUN, TRAIN, step
from tools.cli.previews.pipeline_trials import champions_at_stake, outcome
from workloads.engines.base import RunResult, RunState

IRIS = {"model": "iris", "pipeline": "iris-external", "gate": []}
SERVED = {"version": "4", "metrics": {"accuracy": 0.967}}


def finished(metadata: dict[str, Any], state: RunState = RunState.SUCCEEDED, **failure: str) -> RunResult:
    artifacts = [{"name": "metrics", "type": "system.Metrics", "uri": "", "metadata": metadata}]
    return RunResult(state, {}, [{"name": "test-model", "artifacts": artifacts}], "", **failure)


def test_champion_at_stake_is_that_of_a_pipeline_that_runs_again() -> None:
    changed = TRAIN | {"data": "d2"}
    champion = step("same", CHAMPION, "iris-champion", old=IRIS, new=IRIS, outputs=SERVED)

    def at_stake(run: dict[str, Any], model: dict[str, Any]) -> dict[str, tuple[str, str]]:
        return champions_at_stake({"steps": [run, model]})

    assert at_stake(step("update", RUN, "r", old=TRAIN, new=changed), champion) == {"iris-external": ("iris", "4")}
    assert at_stake(step("same", RUN, "r", old=TRAIN, new=TRAIN), champion) == {}
    assert at_stake(step("create", RUN, "r", new=TRAIN), step("create", CHAMPION, "c", new=IRIS)) == {}


def test_outcome_has_the_number_of_changed_answers_and_both_metrics() -> None:
    metrics = {"changed_answers": 2.0, "accuracy": 0.9333, "champion_accuracy": 0.9667, "log_loss": 0.2}
    assert outcome("iris", "4", finished(metrics)) == (
        "2 of the answers of iris version 4 on the test rows change; accuracy 0.967 becomes 0.933"
    )


def test_outcome_without_a_comparison_or_with_a_failed_step_says_so() -> None:
    assert "pass model_name to test_model" in outcome("iris", "4", finished({"accuracy": 0.9}))
    failed = finished({}, RunState.FAILED, failed_step="train-model", error="Traceback\nStepError: trees: 0")
    assert outcome("iris", "4", failed) == "the run fails in step train-model: StepError: trees: 0"
