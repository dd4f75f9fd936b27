"""Tests of the previews in pull and merge requests: the files are linted, their scripts are run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.harness import CHECKOUT
from tools.bootstrap import paths, pulumi_cli
from tools.bootstrap.atomic_install import atomic_install
from tools.bootstrap.file_lock import file_lock
from tools.bootstrap.go_toolchain import toolchain
from tools.ci.changed_stacks import affected
from tools.ci.pr_comment import MARKER, MAX_CHARACTERS

from .forge import Forge

WORKFLOW, TEMPLATE = CHECKOUT / ".github" / "workflows" / "preview.yml", CHECKOUT / ".gitlab" / "preview.yml"
MODULE = Path(__file__).with_name("actionlint")
OWN_REPOSITORY = "github.event.pull_request.head.repo.full_name == github.repository"
PAGE = "## Preview of stack `azure`\n\n**3 to create**\n"


@pytest.fixture(scope="session")
def actionlint() -> Path:
    """Build the linter from its Go module once."""
    number = paths.pinned_versions()["actionlint"]["version"]
    target = paths.tool_directory("actionlint", number)
    with file_lock(paths.cache_directory() / "actionlint.lock", "Waiting for another test run to build actionlint."):
        if not target.exists():
            with tempfile.TemporaryDirectory() as scratch, atomic_install(target) as partial:
                go, environment = toolchain(pulumi_cli.SOURCE, Path(scratch))
                build = [go, "build", "-trimpath", "-o", partial, "github.com/rhysd/actionlint/cmd/actionlint"]
                subprocess.run(build, cwd=MODULE, env=environment, check=True)
    return target / "actionlint"


def test_actionlint_version_equals_its_checksums() -> None:
    number = paths.pinned_versions()["actionlint"]["version"]
    assert f"require github.com/rhysd/actionlint v{number}\n" in (MODULE / "go.mod").read_text()


def test_workflow_passes_actionlint(actionlint: Path) -> None:
    shellcheck = CHECKOUT / ".venv" / "bin" / "shellcheck"
    finished = subprocess.run(
        [actionlint, "-shellcheck", shellcheck, "-pyflakes=", WORKFLOW], capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stdout


def test_actionlint_reports_an_undefined_output(actionlint: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yml"
    wrong.write_text(WORKFLOW.read_text().replace("needs.stacks.outputs.stacks", "needs.stacks.outputs.stack"))
    finished = subprocess.run([actionlint, wrong], capture_output=True, text=True)
    assert finished.returncode == 1
    assert 'property "stack" is not defined' in finished.stdout


@pytest.fixture(scope="module")
def jobs() -> dict[str, Any]:
    return dict(yaml.safe_load(WORKFLOW.read_text())["jobs"])


def test_fork_gets_no_secret_and_no_write_permission(jobs: dict[str, Any]) -> None:
    text = WORKFLOW.read_text()
    assert (
        "\non: pull_request\n" in text
    )  # pull_request_target would run the code of a fork with the rights of this repository
    assert "secrets." not in text
    assert "\npermissions: {}\n" in text
    permissions = {
        name: {scope for scope, access in job["permissions"].items() if access == "write"} for name, job in jobs.items()
    }
    assert permissions == {"check": set(), "stacks": set(), "preview": {"id-token"}, "comment": {"pull-requests"}}
    assert OWN_REPOSITORY in jobs["comment"]["if"]
    for name in ("Log in to Azure by OIDC", "Configure the backend"):
        assert OWN_REPOSITORY in step(jobs, "preview", name)["if"]
    assert OWN_REPOSITORY in step(jobs, "stacks", "environment")["if"]


@pytest.mark.parametrize(("answer", "name"), [("true", "preview"), ("false", ""), ("", "")])
def test_credentials_need_an_environment_with_required_reviewers(
    answer: str, name: str, jobs: dict[str, Any], checkout: Path, tmp_path: Path
) -> None:
    """An answer "" is a failed request: the environment does not exist."""
    gh = checkout.parent / "bin" / "gh"
    gh.write_text(f"#!/bin/sh\necho \"$@\" >'{tmp_path}/calls'\necho '{answer}'\n[ -n '{answer}' ]\n")
    gh.chmod(0o755)
    output = tmp_path / "output"
    output.touch()
    check = step(jobs, "stacks", "environment")
    environment = with_make(checkout) | {"GITHUB_OUTPUT": str(output), "GITHUB_REPOSITORY": "me/project"}
    finished = run(check["run"], checkout, **environment, QUERY=check["env"]["QUERY"])
    assert finished.returncode == 0, finished.stderr
    assert output.read_text() == (f"name={name}\n" if name else "")
    assert ("::warning::" in finished.stdout) == (not name)
    assert "api repos/me/project/environments/preview --jq any(" in (tmp_path / "calls").read_text()
    assert jobs["preview"]["environment"] == "${{ needs.stacks.outputs.environment }}"
    for credentials in ("Log in to Azure by OIDC", "Configure the backend"):
        assert "needs.stacks.outputs.environment == 'preview'" in step(jobs, "preview", credentials)["if"]


def test_login_uses_oidc(jobs: dict[str, Any]) -> None:
    login = step(jobs, "preview", "Log in to Azure by OIDC")
    assert login["with"].keys() == {"client-id", "tenant-id", "subscription-id"}


def test_actions_are_pinned_by_commit(jobs: dict[str, Any]) -> None:
    used = [each["uses"] for job in jobs.values() for each in job["steps"] if "uses" in each]
    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action in used)


def test_check_job_runs_the_targets_of_the_makefile(jobs: dict[str, Any]) -> None:
    assert [each["run"] for each in jobs["check"]["steps"] if "run" in each] == ["make lint", "make test"]


def step(jobs: dict[str, Any], job: str, name: str) -> dict[str, Any]:
    """Return a step by its name or id."""
    return dict(next(each for each in jobs[job]["steps"] if name in (each.get("name"), each.get("id"))))


def run(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a runner does for `shell: bash`."""
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    return subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Create a checkout whose last commit changes a stack, and a `make` that prints a report."""
    folder = tmp_path / "checkout"
    shutil.copytree(CHECKOUT / "tools", folder / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dev", "lab", "azure"):
        (folder / f"Pulumi.{name}.yaml").write_text("config: {}\n")
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "base")
    (folder / "Pulumi.azure.yaml").write_text("config: {infra:machines: azure}\n")
    git(folder, "commit", "--quiet", "--all", "--message", "change")
    make = tmp_path / "bin" / "make"
    make.parent.mkdir()
    make.write_text(f"#!/bin/sh\necho \"$@\" >>'{folder}/calls'\nprintf '{PAGE}'\n[ ! -e '{folder}/fails' ]\n")
    make.chmod(0o755)
    return folder


def with_make(checkout: Path) -> dict[str, str]:
    return {"PATH": f"{checkout.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def test_changed_stacks_are_written_to_the_output(jobs: dict[str, Any], checkout: Path, tmp_path: Path) -> None:
    output = tmp_path / "output"
    script = step(jobs, "stacks", "changed")["run"]
    base = git(checkout, "rev-parse", "HEAD~1").strip()
    finished = run(script, checkout, BASE=base, STACKS="dev azure", GITHUB_OUTPUT=str(output))
    assert finished.returncode == 0, finished.stderr
    assert output.read_text() == 'stacks=["azure"]\n'
    assert run(script, checkout, BASE=base, STACKS="dev other", GITHUB_OUTPUT=str(output)).returncode == 1
    assert run(script, checkout, BASE="no-commit", STACKS="dev", GITHUB_OUTPUT=str(output)).returncode != 0


@pytest.mark.parametrize(
    ("files", "stacks"),
    [
        (["README.md", "docs/stacks.md", "tests/unit/settings/test_settings.py"], []),
        (["Pulumi.dev.yaml", "README.md"], ["dev"]),
        (["infra/azure/site.py"], ["azure", "dev"]),
        (["settings"], ["azure", "dev"]),
        (["Pulumi.lab.yaml"], []),
    ],
)
def test_settings_file_affects_its_stack_and_code_affects_all(files: list[str], stacks: list[str]) -> None:
    assert affected(files, ["dev", "azure"]) == stacks


def test_report_is_printed_saved_and_added_to_the_summary(jobs: dict[str, Any], checkout: Path, tmp_path: Path) -> None:
    environment = with_make(checkout) | {"STACK": "azure", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary")}
    finished = run(step(jobs, "preview", "Preview")["run"], checkout, **environment)
    assert (finished.returncode, finished.stdout) == (0, PAGE)
    assert (checkout / "calls").read_text() == "--silent preview STACK=azure\n"
    assert (checkout / "pages/azure.md").read_text() == PAGE
    run(step(jobs, "preview", "Add the report to the summary of the job")["run"], checkout, **environment)
    assert (tmp_path / "summary").read_text() == PAGE


def test_preview_that_fails_fails_the_job_and_saves_its_report(jobs: dict[str, Any], checkout: Path) -> None:
    (checkout / "fails").touch()
    finished = run(step(jobs, "preview", "Preview")["run"], checkout, **with_make(checkout), STACK="azure")
    assert finished.returncode != 0
    assert (checkout / "pages/azure.md").read_text() == PAGE


@pytest.fixture
def forge() -> Iterator[Forge]:
    with Forge() as running:
        yield running


def pages(folder: Path, **content: str) -> None:
    shutil.rmtree(folder / "pages", ignore_errors=True)
    (folder / "pages").mkdir()
    for name, text in content.items():
        (folder / "pages" / f"{name}.md").write_text(text)


GITHUB = {"GITHUB_REPOSITORY": "me/project", "NUMBER": "7", "GITHUB_TOKEN": "t0ken"}
GITLAB = {"CI_PROJECT_ID": "5", "CI_MERGE_REQUEST_IID": "7", "COMMENT_TOKEN": "t0ken"}


@pytest.mark.parametrize("kind", ["github", "gitlab"])
def test_comment_is_created_once_and_replaced_by_later_runs(
    kind: str, jobs: dict[str, Any], forge: Forge, checkout: Path
) -> None:
    script = step(jobs, "comment", "Comment")["run"]
    own = GITHUB | {"GITHUB_API_URL": forge.github} if kind == "github" else GITLAB | {"CI_API_V4_URL": forge.gitlab}
    for content in ({}, {"azure": PAGE}, {"azure": "again", "dev": "too"}, {}):
        pages(checkout, **content)
        finished = run(script, checkout, **own)
        assert finished.returncode == 0, finished.stderr
        expected = [] if not content and len(forge.bodies) == 1 else ["\n\n".join([MARKER, *_sorted(content)])]
        assert forge.bodies == ["A person's words", *expected]
    assert forge.tokens == {"Bearer t0ken" if kind == "github" else "t0ken"}


def _sorted(content: dict[str, str]) -> list[str]:
    return [content[name].strip() for name in sorted(content)] or ["This change affects no stack any more."]


def test_long_report_is_truncated(jobs: dict[str, Any], forge: Forge, checkout: Path) -> None:
    pages(checkout, azure="x" * 200_000)
    run(step(jobs, "comment", "Comment")["run"], checkout, **GITHUB, GITHUB_API_URL=forge.github)
    assert len(forge.bodies[1]) == MAX_CHARACTERS
    assert forge.bodies[1].endswith("has the whole text.*")


def test_rejection_by_the_forge_fails_the_job_without_printing_the_token(
    jobs: dict[str, Any], forge: Forge, checkout: Path
) -> None:
    forge.refusal = 403
    pages(checkout, azure=PAGE)
    finished = run(step(jobs, "comment", "Comment")["run"], checkout, **GITHUB, GITHUB_API_URL=forge.github)
    assert finished.returncode == 1
    assert "returned 403" in finished.stderr
    assert "not accessible by integration" in finished.stderr
    assert "t0ken" not in finished.stderr


def test_gitlab_jobs_write_the_reports_of_changed_stacks_and_comment(forge: Forge, checkout: Path) -> None:
    template = yaml.safe_load(TEMPLATE.read_text())
    job = template["previews"]
    environment = with_make(checkout) | GITLAB | {"CI_API_V4_URL": forge.gitlab, "STACKS": "dev azure"}
    environment["CI_MERGE_REQUEST_DIFF_BASE_SHA"] = git(checkout, "rev-parse", "HEAD~1").strip()
    git(checkout, "branch", "target", "HEAD~1")
    git(checkout, "remote", "add", "origin", str(checkout))
    environment["CI_MERGE_REQUEST_TARGET_BRANCH_NAME"] = "target"
    (script,) = job["script"]
    finished = run(script, checkout, **environment)
    assert finished.returncode == 0, finished.stderr
    assert (checkout / "calls").read_text() == "--silent preview STACK=azure\n"
    assert job["artifacts"]["paths"] == ["pages/"]
    (checkout / "fails").touch()
    assert run(script, checkout, **environment).returncode == 1
    # The comment is written by the code of the target branch: a file of the merge request that shadows a module of the
    # standard library is not imported.
    (checkout / "json.py").write_text("raise SystemExit('code of the merge request')")
    git(checkout, "add", "json.py")
    git(checkout, "commit", "--quiet", "--message", "shadow")
    assert template["comment"]["needs"] == [{"job": "previews", "artifacts": True}]
    (script,) = template["comment"]["script"]
    assert run(script, checkout, **environment | {"COMMENT_TOKEN": ""}).returncode == 0
    assert len(forge.bodies) == 1
    finished = run(script, checkout, **environment)
    assert finished.returncode == 0, finished.stderr
    assert forge.bodies[1] == f"{MARKER}\n\n{PAGE.strip()}"


def test_gitlab_preview_with_credentials_is_manual_and_without_the_comment_token() -> None:
    template = yaml.safe_load(TEMPLATE.read_text())
    with_credentials, without = template["previews"]["rules"]
    assert "$AZURE_CLIENT_ID" in with_credentials["if"]
    assert with_credentials["when"] == "manual"
    assert "when" not in without
    assert template["previews"]["environment"]["name"] != template["comment"]["environment"]["name"]
    assert [name for name, job in template.items() if "COMMENT_TOKEN" in str(job)] == ["comment"]


def test_gitlab_image_is_pinned_by_digest() -> None:
    assert re.search(r"@sha256:[0-9a-f]{64}$", yaml.safe_load(TEMPLATE.read_text())[".preview"]["image"])


def test_gitlab_job_logs_in_by_oidc_with_a_client_id(checkout: Path) -> None:
    job = yaml.safe_load(TEMPLATE.read_text())["previews"]
    make = checkout.parent / "bin" / "make"
    make.write_text("#!/bin/sh\nenv\n")
    own = {
        "AZURE_CLIENT_ID": "client",
        "AZURE_TENANT_ID": "tenant",
        "AZURE_SUBSCRIPTION_ID": "subscription",
        "AZURE_ID_TOKEN": "short-lived",
        "STATE": "azblob://state",
        "PASSPHRASE_FILE": "/vault/passphrase",
        "CI_PROJECT_DIR": str(checkout),
    }
    base = git(checkout, "rev-parse", "HEAD~1").strip()
    common = with_make(checkout) | {"STACKS": "azure", "CI_MERGE_REQUEST_DIFF_BASE_SHA": base}
    (script,) = job["script"]
    run(script, checkout, **common, **own)
    found = dict(line.split("=", 1) for line in (checkout / "pages/azure.md").read_text().splitlines() if "=" in line)
    assert found["ARM_OIDC_TOKEN"] == "short-lived"
    assert found["PULUMI_BACKEND_URL"] == "azblob://state"
    assert Path(found["AZURE_FEDERATED_TOKEN_FILE"]).read_text() == "short-lived"
    assert Path(found["AZURE_FEDERATED_TOKEN_FILE"]).stat().st_mode & 0o077 == 0
    run(script, checkout, **common)
    assert "azblob" not in (checkout / "pages/azure.md").read_text()
    assert job["id_tokens"] == {"AZURE_ID_TOKEN": {"aud": "api://AzureADTokenExchange"}}
