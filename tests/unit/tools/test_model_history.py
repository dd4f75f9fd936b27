"""Arguments of `make history`."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from tools.cli.model_history import history


def test_history_at_no_time_names_the_format(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        history(Mock(), ["--at", "yesterday"])
    assert "argument --at: 'yesterday' is no time; write it as 2026-11-28T20:15, in UTC" in capsys.readouterr().err
