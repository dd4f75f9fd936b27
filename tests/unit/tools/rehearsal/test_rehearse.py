"""Refusals of `make rehearse`."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from infra.errors import UserError
from settings.stack import StackSettings
from tools.cli.pulumi_command import Pulumi
from tools.cli.rehearsal import rehearse as module
from tools.cli.rehearsal.rehearse import rehearse


@pytest.mark.parametrize(("cluster", "reason"), [("none", "has no cluster"), ("existing", "cluster of a vendor")])
def test_rehearse_refuses_a_stack_without_machines(monkeypatch: pytest.MonkeyPatch, cluster: str, reason: str) -> None:
    settings = StackSettings.model_construct(infra=Mock(cluster=cluster))
    monkeypatch.setattr(module, "stack_settings", lambda _: settings)
    up = Mock()
    with pytest.raises(UserError, match=f"the stack dev .*{reason}.*infra:cluster is {cluster}"):
        rehearse(Pulumi("dev"), [], up, up)
    up.assert_not_called()


def test_rehearse_refuses_a_stack_that_is_not_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        module, "stack_settings", lambda _: StackSettings.model_construct(infra=Mock(cluster="kubeadm"))
    )
    monkeypatch.setattr(module, "secret_outputs", lambda _: {})
    with pytest.raises(UserError, match="is not up"):
        rehearse(Pulumi("lab"), [], Mock(), Mock())


@pytest.mark.parametrize("rate", ["0", "-1", "many", "1e9"])
def test_rehearse_refuses_a_rate_that_is_no_number(rate: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        rehearse(Pulumi("lab"), ["--rate", rate], Mock(), Mock())
    assert "is no number of predictions a second" in capsys.readouterr().err
