"""Digests of source files, and the commit of the program."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from settings.workloads import PipelineSettings
from workloads.runs import origin
from workloads.runs.origin import data_fingerprint, git_tags
from workloads.runs.pipeline_sources import pipeline_digest, sources_digest


@pytest.mark.parametrize("address", ["{}", "file://{}", "file:{}", "local://{}", "~/rows.csv"])
@pytest.mark.parametrize("parameter", ["data_url", "onnx_url"])
def test_changed_local_file_changes_the_fingerprint_of_the_data(
    parameter: str, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "rows.csv"
    pipeline = PipelineSettings.model_validate({"parameters": {parameter: address.format(file)}})
    found = {data_fingerprint(pipeline, [])}
    for content in ("a", "b", "a"):
        file.write_text(content)
        found.add(data_fingerprint(pipeline, []))
    assert len(found) == 3


def test_addresses_elsewhere_have_no_fingerprint() -> None:
    for url in ("https://example.com/rows.csv", "s3://rows/rows.csv", "data:text/csv,x"):
        assert data_fingerprint(PipelineSettings.model_validate({"parameters": {"data_url": url}}), []) == ""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project whose pipeline imports a helper, which imports another helper."""
    files = {
        "workloads/__init__.py": "",
        "workloads/pipelines/__init__.py": "",
        "workloads/pipelines/some_pipeline.py": "import kfp\nimport platform\nfrom workloads.helpers import naming\n",
        "workloads/helpers/__init__.py": "",
        "workloads/helpers/naming.py": "def name() -> str:\n    from . import words\n    return words.WORD\n",
        "workloads/helpers/words.py": "WORD = 'a'\n",
        "workloads/helpers/unused.py": "",
        "workloads/components/train.yaml": "name: train\n",
        "platform/cluster.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("workloads/pipelines/some_pipeline.py", True),
        ("workloads/helpers/naming.py", True),
        ("workloads/helpers/words.py", True),
        ("workloads/components/train.yaml", True),
        ("workloads/helpers/unused.py", False),
        ("platform/cluster.py", False),
    ],
)
def test_pipeline_digest_after_a_change_of_a_file_differs_if_the_pipeline_uses_it(
    project: Path, file: str, changes: bool
) -> None:
    before = pipeline_digest("some-pipeline", project)
    with (project / file).open("a") as changed:
        changed.write("# a comment\n")
    assert (pipeline_digest("some-pipeline", project) != before) is changes


def test_pipeline_digest_of_a_syntax_error_leaves_the_error_to_the_compiler(project: Path) -> None:
    (project / "workloads/pipelines/some_pipeline.py").write_text("def\n")
    assert pipeline_digest("some-pipeline", project) != pipeline_digest("no-such-pipeline", project)


def test_digest_of_moved_files_differs(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.py").write_text("x = 1\n")
    assert sources_digest([tmp_path / "a/same.py"], tmp_path) != sources_digest([tmp_path / "b/same.py"], tmp_path)


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the program, which git does not know yet. Git has no settings of this computer."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setattr(origin, "PROJECT", tmp_path)
    return tmp_path


def commit(checkout: Path) -> None:
    author = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    for arguments in (["init", "-q"], [*author, "commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run(["git", *arguments], cwd=checkout, check=True)


def test_git_tags_have_the_commit(checkout: Path) -> None:
    commit(checkout)
    assert len(git_tags()["git_commit"]) == 40


@pytest.mark.parametrize("path", [None, "/nowhere"], ids=["no-checkout", "no-git"])
def test_git_tags_outside_of_a_checkout_or_without_git_are_empty(
    checkout: Path, path: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(origin.pulumi.log, "warn", pytest.fail)
    if path:
        commit(checkout)
        monkeypatch.setenv("PATH", path)
    assert git_tags() == {}


def test_git_tags_of_a_checkout_that_git_refuses_warn_with_its_reason(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit(checkout)
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # as that of another user
    warnings: list[str] = []
    monkeypatch.setattr(origin.pulumi.log, "warn", warnings.append)
    assert git_tags() == {}
    (warning,) = warnings
    assert warning.startswith("the runs get no git commit: ")
    assert "detected dubious ownership" in warning
    assert "safe.directory" in warning
