"""The servers of the benchmark that answer with a constant."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.http.contenders import ceiling
from tests.bench.http.servers import running


@pytest.mark.parametrize("kind", ["flask", "wsgi"])
def test_ceiling_server_answers_a_post_in_place_of_the_model_server(kind: str, tmp_path: Path) -> None:
    server = ceiling(kind)
    with running(server, tmp_path):
        status, text = server.post("{}")
    assert (status, '"setosa"' in text) == (200, True)
