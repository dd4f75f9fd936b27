"""Features of a package that only Kubeflow Pipelines has: the other engines refuse them before a run starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from workloads.engines.dag.artifact_files import artifact_scheme
from workloads.engines.dag.expressions import ExpressionError, parse_condition
from workloads.engines.dag.package_repair import INTERNAL_NAME, groups_in, named_items
from workloads.engines.dag.parameter_values import ParameterError
from workloads.engines.dag.step_environment import PYTHON_IMAGE, VERSION

STEP_IMAGE = "mlplatform/python-workloads"
EXECUTOR_MODULE = "kfp.dsl.executor_main"
CONTAINERIZED_COMMAND = ["python3", "-m", EXECUTOR_MODULE]
KUBERNETES_INPUTS = {
    "secretAsEnv": "a Secret",
    "secretAsVolume": "a Secret",
    "configMapAsEnv": "a ConfigMap",
    "configMapAsVolume": "a ConfigMap",
    "pvcMount": "a PersistentVolumeClaim",
    "emptyDirMounts": "an emptyDir volume",
    "genericEphemeralVolume": "an ephemeral volume",
    "fieldPathAsEnv": "a field of its pod",
}
"""Settings of kfp-kubernetes that change what a step reads, by their names in a package."""
REMEDY = "; set platform:pipelines: kubeflow"


class UnsupportedPackage(Exception):
    """A package with a feature that an engine does not have."""


def require_portable(documents: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a package that no engine runs.

    Raises:
        UnsupportedPackage: the package has such a feature.
    """
    package = documents[0]
    _require_own_items(package)
    for name, task in _tasks(package):
        if "artifactIterator" in task:
            raise UnsupportedPackage(f"{name} is a loop over artifacts, which no engine has; loop over parameters")
        try:
            if condition := task.get("triggerPolicy", {}).get("condition"):
                parse_condition(condition)
        except ExpressionError as error:
            raise UnsupportedPackage(f"{name}: {error}") from error
    for name, spec in package["root"].get("inputDefinitions", {}).get("artifacts", {}).items():
        if not spec.get("isOptional"):
            raise UnsupportedPackage(
                f"the parameter {name} of the pipeline is an artifact; import it with dsl.importer"
            )


def require_support(documents: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a package that only Kubeflow Pipelines runs.

    Args:
        documents: the pipeline (IR), and an optional document for a platform.

    Raises:
        UnsupportedPackage: the package has such a feature.
    """
    require_portable(documents)
    package = documents[0]
    for label, executor in package["deploymentSpec"]["executors"].items():
        step = label.removeprefix("exec-")
        if "container" in executor:
            _require_function(step, executor["container"])
        elif "importer" not in executor:
            raise UnsupportedPackage(f"step {step} has an executor of an unknown kind: {', '.join(executor)}")
        elif address := executor["importer"]["artifactUri"].get("constant"):
            try:
                artifact_scheme(address)
            except ParameterError as error:
                raise UnsupportedPackage(f"step {step}: {error}") from error
    for label, component in package["components"].items():
        for name, spec in component.get("inputDefinitions", {}).get("parameters", {}).items():
            if spec["parameterType"] == "TASK_CONFIG":
                step = label.removeprefix("comp-")
                raise UnsupportedPackage(f"step {step} reads the configuration of its pod in {name}{REMEDY}")
    for document in documents[1:]:
        kubernetes = document.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {})
        for label, settings in kubernetes.get("executors", {}).items():
            for setting in settings:
                if found := KUBERNETES_INPUTS.get(setting):
                    raise UnsupportedPackage(f"step {label.removeprefix('exec-')} reads {found} of a cluster{REMEDY}")


def _require_own_items(package: Mapping[str, Any]) -> None:
    """Refuse items that kfp's compiler does not distinguish, because it gives them one name."""
    for loop, task, group, items in groups_in(package, package["root"]):
        if "parameterIterator" in task and items[-1] in items[:-1]:
            raise UnsupportedPackage(
                f"{loop} is a loop over the same list as a loop around it, and kfp gives their items one name; "
                "pass the list as a second parameter"
            )
        for inner, reader in group["dag"]["tasks"].items():
            constants = [each.get("runtimeValue") for each in reader.get("inputs", {}).get("parameters", {}).values()]
            if any(len(named_items(name, items)) > 1 for name in INTERNAL_NAME.findall(str(constants))):
                raise UnsupportedPackage(
                    f"{inner} reads the field name of an item, and several loops around it have items of one name; "
                    "rename the field, or the output of one of the steps that give the lists"
                )


def _require_function(step: str, container: Mapping[str, Any]) -> None:
    """Refuse a container that does not run a Python function of the package."""
    image, command = container.get("image", ""), container.get("command", [])
    if not any(EXECUTOR_MODULE in part for part in command):
        raise UnsupportedPackage(
            f"step {step} is a container component of the image {image}; this engine has no containers, and runs "
            f"Python functions only{REMEDY}, or write the step as a Python component"
        )
    if command[: len(CONTAINERIZED_COMMAND)] == CONTAINERIZED_COMMAND:
        raise UnsupportedPackage(
            f"step {step} is a containerized Python component of the image {image}, whose code is in that image only"
            f"{REMEDY}, or leave target_image out"
        )
    if STEP_IMAGE not in image and not PYTHON_IMAGE.search(image):
        raise UnsupportedPackage(
            f"step {step} needs the image {image}; this engine has no containers{REMEDY}, or set "
            f"base_image='python:{VERSION}' and packages_to_install"
        )


def _tasks(package: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for component in [package["root"], *package["components"].values()]:
        yield from component.get("dag", {}).get("tasks", {}).items()
