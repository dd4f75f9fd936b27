"""The pattern of the paths of predictions, compared with the routes of the model server."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from unittest.mock import Mock

from mlplatform.start_page.prediction_paths import PREDICTION_PATHS

from model_server.http.routes import routes
from model_server.settings import ServerSettings
from settings.paths import PROJECT

SERVICE = "GRPCInferenceService"
CALLS = f"""
import json
from model_server.rpc import open_inference_pb2 as messages
service = messages.DESCRIPTOR.services_by_name["{SERVICE}"]
print(json.dumps([f"/{{service.full_name}}/{{method.name}}" for method in service.methods]))
"""
NO_PREDICTION = re.compile(
    "(/models/[^/]+)?/v2/repository/index"
    f"|/inference[.]{SERVICE}/(ServerLive|ServerReady|ServerMetadata|ModelReady|ModelMetadata)"
)
"""Paths that take a POST and predict nothing."""


@cache
def calls_of_grpc() -> list[str]:
    """Return the calls. The process is another one, because tests of this one use the messages of tritonclient."""
    command = [sys.executable, "-c", CALLS]
    found: list[str] = json.loads(subprocess.run(command, cwd=PROJECT, check=True, capture_output=True).stdout)
    return found


def post_paths() -> list[str]:
    """Return `path` in the metrics of each POST and each call of gRPC, for a server of several models."""
    source = {"registry": "http://mlflow", "models": "iris,wine", "alias": "champion", "cache": "/nowhere"}
    settings = ServerSettings.model_validate(source)
    catalog = Mock(models=[Mock(), Mock()])
    posts = [route.path for route in routes(settings, catalog, Mock()) if route.method == "POST"]
    return [*posts, *calls_of_grpc()]


def prediction_paths() -> list[str]:
    """Return `path` in the metrics of each way to predict."""
    return [path for path in post_paths() if not NO_PREDICTION.fullmatch(path)]


def test_pattern_matches_every_path_of_predictions_and_no_other() -> None:
    """A new route that predicts nothing belongs into `NO_PREDICTION`."""
    matched = [path for path in post_paths() if re.fullmatch(PREDICTION_PATHS, path)]
    assert matched == prediction_paths()
    assert len(matched) == 3 * 4 + 1


def test_counters_of_the_migration_page_are_those_of_every_prediction() -> None:
    page = (PROJECT / "docs" / "migrate.md").read_text()
    (pattern,) = re.findall(r"/metrics \| grep -E '(.+)'\n", page)
    counters = {path: f'model_server_requests_total{{path="{path}",method="POST"}} 1' for path in post_paths()}
    assert [path for path, counter in counters.items() if re.search(pattern, counter)] == prediction_paths()
