"""`make notebook` without JupyterLab: refusals, examples and separation from other installations."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from unittest.mock import Mock

import pytest

from tools.cli.cluster_access import AccessError
from tools.cli.notebook_server import copy_examples, jupyter_variables, notebook


@pytest.mark.parametrize(
    ("outputs", "reason"), [({"kubeconfig": "x", "tracking_url": "y"}, "has a cluster"), ({}, "run `make up`")]
)
def test_notebook_of_an_unsuitable_stack_says_why(outputs: dict[str, str], reason: str) -> None:
    pulumi = Mock(stack="shop")
    pulumi.output.return_value = json.dumps(outputs)
    with pytest.raises(AccessError, match=f"the stack shop .*{reason}"):
        notebook(pulumi, [])


def test_copy_examples_keeps_what_the_user_wrote(tmp_path: Path) -> None:
    copy_examples(tmp_path / "examples")
    (copied, *_) = (tmp_path / "examples").glob("*.ipynb")
    copied.write_text("mine")
    copy_examples(tmp_path / "examples")
    assert copied.read_text() == "mine"


def test_jupyter_variables_are_folders_of_this_user_only(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "jupyter"
    assert all(Path(value).parent == folder for value in jupyter_variables(folder).values())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
