"""The page docs/reference/kfp-features.md.

Write it with `python -m tests.pipelines.kfp_features.features_page > docs/reference/kfp-features.md`.
"""

from __future__ import annotations

from typing import Any

from tests.pipelines.kfp_features import features as runs
from tests.pipelines.kfp_features import refused_features as refused

CLUSTER_TEST = "runs, in a test with a cluster"
EXPECTED = "expected to run"
OUTPUTS: dict[str, Any] = {
    "branch": "down",
    "loop_in_loop": [["ax", "ay"], ["bx", "by"]],
    "loop_of_mappings": "done",
    "loop_of_outputs": [["test test2", "b b2"], ["prod prod2", "b b2"]],
    "loop_over_field": [[2, 4], [6]],
    "loop_of_files": "3 1 2",
    "loop_over_nothing": [],
    "optional": "None [8, 16] {'lr': 0.1} None",
    "artifact_types": (
        "['system.Artifact', 'system.Model', 'system.HTML', 'system.Markdown'] none {'accuracy': 0.5} {'row': [3, 4]}"
    ),
    "pythonic": "4 {'number': 4}",
    "paths": "written 3 True",
    "imported": "a table {'source': 'a table'}",
    "placeholders": "a value join",
    "retried": "at the second attempt",
    "plain": 2.5,
}
"""Output of each pipeline of `features.features`, with every engine."""
FAILURES = {
    "cleaned_up": ("fail", "3 is no good"),
    "ignored": ("fail", "3 is no good"),
    "infinite": ("not-a-number", "the output Output is nan, which no parameter and no metadata can hold"),
    "long_parameter": ("join", "step join has an argument or a variable of 208,"),
    "failing_loop": ("fail:1", "2 is no good"),
}
"""Failed step and start of the error of each pipeline that fails."""
REFUSALS = {
    "containers": "step container is a container component of the image alpine",
    "target_image": "step containerized is a containerized Python component",
    "images": "step other-image needs the image tensorflow/tensorflow:2.15.0",
    "buckets": "step importer: the address gs://bucket/table.csv of an artifact is not a path",
    "pod_settings": "step read-task reads the configuration of its pod in configuration",
    "loop_over_files": "for-loop-1 is a loop over artifacts, which no engine has",
    "artifact_input": "the parameter file of the pipeline is an artifact; import it with dsl.importer",
    "loops_of_one_name": "echo reads the field name of an item, and several loops around it have items of one name",
    "loop_in_same_loop": "for-loop-2 is a loop over the same list as a loop around it",
    "quoted": "condition-1: the condition inputs.parameter_values['pipelinechannel--text'] == 'it's' cannot be",
}
"""Start of the sentence with which `embedded` and `job` refuse a pipeline."""
NO_ENGINE = ("loop_over_files", "artifact_input", "loops_of_one_name", "loop_in_same_loop", "quoted")
"""Pipelines that do not compile: every engine refuses them."""
KUBEFLOW = {
    "branch": CLUSTER_TEST,
    "loop_in_loop": "expected to run; the backend's source collects one flat list",
    "loop_of_outputs": "expected to run; the backend's source collects one flat list",
    "imported": "`s3://` expected to run; a path or `http://` is not",
    "pythonic": "kfp's documentation: not yet supported",
    "infinite": "expected to fail, with the launcher's message",
    "long_parameter": "not tried",
}
TEXT = """\
# Features of kfp, by engine

A test runs the pipelines behind this table with `embedded` and `job`, and writes the table:
`tests/pipelines/kfp_features/test_features.py`. `job` runs in it as a process, as in a pod. The column of
`kubeflow` says where a test with a cluster exists. Everything else there was read in the source of
Kubeflow Pipelines, and did not run.

| feature | `embedded`, `job` | `kubeflow` |
|---|---|---|
{rows}

## Rules

- **Compilation.** kfp's compiler connects the fields of a loop's items to the wrong tasks, and takes
  `item.name` for the name of the loop. The package is repaired when it is compiled, for all engines.
  A field `name` in a list that is written in the pipeline does not compile; pass the list as a parameter.
  In lists of parameters and of steps, rename fields called `value`, `task`, `task_name`,
  `channel_type`, `full_name`, `pattern` or `pipeline`. kfp reads its own attributes there: a text
  with `item.value` contains `None`.
- **Images.** A step whose image is `python:3.11`, or the project's own, runs with the installed Python.
  Another version, such as `python:3.12`, runs if that program is on `PATH`; else the run is refused.
- **Packages.** A step that installs packages gets a virtual environment for the run. Packages of the
  platform are found there, and are not downloaded. With `embedded`, pip reads `pip.conf` and
  `PIP_INDEX_URL` of the user who runs `make up`. Without an index, add the package to
  `workloads/requirements.txt`, which the image of `job` has.
- **Importer.** `embedded` and `job` download `s3://`, `http://` and `https://` before the first step
  that reads the artifact. In that step, `artifact.uri` is the path of the copy. The
  credentials are those of `platform:s3`. Without it, `embedded` has those of the user, such as
  `AWS_PROFILE`, and a pod of `job` has none.
- **Values.** Parameters are JSON, as in Kubeflow Pipelines: a `float` of 3.0 arrives as 3. NaN and
  infinity are refused in settings, and do not compile as constants. All inputs of a step together
  have up to 128 KiB as JSON, the limit of Linux for one argument of a program. The arguments of a run
  of `job` have the same limit. Pass longer values in the files of artifacts.
- **Order.** Steps that do not depend on each other run side by side: with `embedded`, as many as
  there are CPUs; with `job`, one after the other, so that each has the pod's memory. After a failure,
  no further step of that pipeline or loop starts, except exit handlers.
- **Loops.** With `job`, iterations that exchange only parameters with other steps run in pods, spread
  over the workers. If one fails, the others still end.
- **Ignored.** `embedded` and `job` do not enforce CPU and memory limits of a step, and have no cache
  of steps. They refuse steps that read Secrets, ConfigMaps or volumes of a cluster.
"""


def page() -> str:
    """Return the page."""
    rows = [_row(getattr(runs, name), "runs", KUBEFLOW.get(name, EXPECTED)) for name in OUTPUTS]
    rows += [_row(getattr(runs, name), "as described", KUBEFLOW.get(name, EXPECTED)) for name in FAILURES]
    rows += [_row(getattr(refused, name), "refused", "refused" if name in NO_ENGINE else EXPECTED) for name in REFUSALS]
    rows.append(f"| {runs.features.description} | runs | {EXPECTED} |")
    return TEXT.format(rows="\n".join(rows))


def _row(pipeline: Any, local: str, kubeflow: str) -> str:
    return f"| {pipeline.description} | {local} | {kubeflow} |"


if __name__ == "__main__":
    print(page(), end="")
