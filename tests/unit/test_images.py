"""What goes into an image, and what makes it another one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlplatform.images.image import LIBRARIES, MODEL_SERVER, RECIPES, WORKLOADS
from mlplatform.images.locked_packages import bill_of_materials, locked_packages

from infra.dynamic_provider import UserError
from settings.paths import PROJECT


def test_the_servers_image_has_what_the_server_needs_and_no_more() -> None:
    names = {pin.name for pin in MODEL_SERVER.pins()}
    assert {"flask", "granian", "onnxruntime", "werkzeug", "pydantic-core"} <= names
    assert not names & {"mlflow", "kfp", "scikit-learn", "pandas", "pulumi"}


def test_steps_find_their_libraries_at_the_versions_of_the_lock() -> None:
    pins = {pin.name: pin for pin in WORKLOADS.pins()}
    assert {"kfp", "mlflow", "scikit-learn", "onnx", "s3fs", "azure-storage-blob"} <= set(pins)
    assert not {"pulumi", "pulumi-kubernetes", "pytest"} & set(pins)
    text = (PROJECT / "uv.lock").read_text()
    assert all(f'name = "{pin.name}"\nversion = "{pin.version}"' in text for pin in pins.values())
    assert all(pin.hashes and all(each.startswith("sha256:") for each in pin.hashes) for pin in pins.values())


@pytest.mark.parametrize(
    ("wanted", "said"), [("flask\nleft-pad\n", "no package left-pad"), ("flask[rocket]\n", "flask without rocket")]
)
def test_a_package_that_the_lock_does_not_have_is_named(tmp_path: Path, wanted: str, said: str) -> None:
    file = tmp_path / "requirements.txt"
    file.write_text(wanted)
    with pytest.raises(UserError, match=said):
        locked_packages(file)


def test_images_have_the_code_that_runs_in_them_and_none_of_what_runs_beside_pulumi() -> None:
    files = {file.relative_to(PROJECT).as_posix() for file in WORKLOADS.files()}
    assert {
        "workloads/engines/pod_entrypoint.py",
        "workloads/engines/kfp_runner.py",
        "workloads/ml/model_registry.py",
    } <= files
    assert not files & {"workloads/engines/job/job_engine.py", "workloads/runs/resources.py", "workloads/deploy.py"}
    assert "model_server/http/templates/page.html" in {
        file.relative_to(PROJECT).as_posix() for file in MODEL_SERVER.files()
    }


def test_a_changed_line_makes_the_images_new_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: recipe.tag() for name, recipe in RECIPES.items()}
    read = Path.read_bytes

    def changed(self: Path) -> bytes:
        return read(self) + (b"\n" if self.as_posix().endswith("workloads/ml/evaluation/gate.py") else b"")

    monkeypatch.setattr(Path, "read_bytes", changed)
    after = {name: recipe.tag() for name, recipe in RECIPES.items()}
    assert {name for name in after if after[name] != before[name]} == {WORKLOADS.name}
    assert before[LIBRARIES.name] != before[WORKLOADS.name]


def test_the_bill_of_materials_lists_each_package_with_its_version_and_is_the_same_each_time() -> None:
    pins = MODEL_SERVER.pins()
    text = bill_of_materials("model_server", pins)
    bill = json.loads(text)
    assert bill["specVersion"] == "1.6"
    assert {(c["name"], c["version"]) for c in bill["components"]} == {(pin.name, pin.version) for pin in pins}
    assert text == bill_of_materials("model_server", pins)
