"""The compared servers. All of them serve the same forest."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from infra.local.free_ports import free_port
from infra.local.local_process import HOST
from settings.serving import ServingSettings
from tests.bench.forest import FEATURES, Flower, Forest
from tests.bench.http.servers import Server

NGINX = """daemon off; master_process on; worker_processes {workers}; pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
  access_log off; default_type application/json; keepalive_requests 1000000000;
  client_body_temp_path {folder}/nginx-body; proxy_temp_path {folder}/nginx-proxy;
  fastcgi_temp_path {folder}/nginx-fastcgi; uwsgi_temp_path {folder}/nginx-uwsgi; scgi_temp_path {folder}/nginx-scgi;
  server {{
    listen {host}:{port};
    location / {{
      return 200 '{{"class_index":0,"species":"setosa","probabilities":{{"setosa":1.0,"versicolor":0,"virginica":0}}}}';
    }}
  }}
}}
"""
"""Settings of nginx: the constant of `ceiling_server`, without files of the system."""


def contenders(forest: Forest, mlserver: Path) -> list[Server]:
    """Return all servers, each on a free port; `mlserver` is MLServer's virtual environment."""
    return [
        _thesis(forest),
        _mlserver("mlserver", forest, mlserver, processes=0),
        _mlserver("mlserver-pool", forest, mlserver, processes=ServingSettings().workers),
        ours(forest.directory),
        _ours_v2(forest),
        ceiling("flask"),
        ceiling("wsgi"),
        *_nginx(forest.pickle.parent),
    ]


def ours(directory: Path) -> Server:
    """Return the model server for the model in a directory, with the default number of workers."""
    port = free_port()
    return Server(
        name="ours",
        command=[sys.executable, "-m", "model_server"],
        environment=_model_server(port) | {"MODEL_SERVER_DIRECTORY": str(directory)},
        port=port,
        path="/score",
        body=_named,
        answered=lambda text: int(json.loads(text)["class_index"]),
    )


def _thesis(forest: Forest) -> Server:
    port = free_port()
    return Server(
        name="thesis",
        command=[sys.executable, "-m", "flask", "--app", "tests.bench.http.thesis_server", "run", "--port", str(port)],
        environment={"FOREST": str(forest.pickle)},
        port=port,
        path="/score",
        body=_named,
        answered=int,
    )


def _mlserver(name: str, forest: Forest, environment: Path, processes: int) -> Server:
    """Return MLServer with a pool of `parallel_workers` processes (0: in the server process), without an access log."""
    folder = forest.pickle.parent / "mlserver"
    folder.mkdir(exist_ok=True)
    parameters = {"uri": str(forest.pickle), "version": "1"}
    model = {"name": "iris", "implementation": "mlserver_sklearn.SKLearnModel", "parameters": parameters}
    (folder / "model-settings.json").write_text(json.dumps(model))
    port = free_port()
    return Server(
        name=name,
        command=[environment / "bin" / "mlserver", "start", folder],
        environment={
            "MLSERVER_PARALLEL_WORKERS": str(processes),
            "MLSERVER_DEBUG": "false",
            "MLSERVER_HOST": HOST,
            "MLSERVER_HTTP_PORT": str(port),
            "MLSERVER_GRPC_PORT": str(free_port()),
            "MLSERVER_METRICS_PORT": str(free_port()),
            "MLSERVER_METRICS_DIR": str(folder),
        },
        port=port,
        path="/v2/models/iris/infer",
        body=_tensor,
        answered=_label,
    )


def _ours_v2(forest: Forest) -> Server:
    """Return the model server with the V2 requests that MLServer receives."""
    return replace(ours(forest.directory), name="ours-v2", path="/v2/models/iris/infer", body=_tensor, answered=_label)


def ceiling(kind: str) -> Server:
    """Return the model server without its work; `kind` is `flask` or `wsgi`."""
    port = free_port()
    return Server(
        name=kind,
        command=[sys.executable, "-m", "tests.bench.http.ceiling_server", kind],
        environment=_model_server(port),
        port=port,
        path="/score",
        body=_named,
        answered=None,
    )


def _nginx(folder: Path) -> list[Server]:
    """Return nginx with a constant answer and one worker for each of ours; nothing if it is not on PATH."""
    program, port = shutil.which("nginx"), free_port()
    if program is None:
        return []
    file = folder / "nginx.conf"
    file.write_text(NGINX.format(folder=folder, workers=ServingSettings().workers, host=HOST, port=port))
    command = [program, "-e", "stderr", "-c", str(file)]
    return [Server(name="nginx", command=command, port=port, path="/score", body=_named, answered=None)]


def _model_server(port: int) -> dict[str, str]:
    return {"MODEL_SERVER_PORT": str(port), "MODEL_SERVER_WORKERS": str(ServingSettings().workers)}


def _named(flower: Flower) -> dict[str, float]:
    return dict(zip(FEATURES, flower, strict=True))


def _tensor(flower: Flower) -> dict[str, Any]:
    tensor = {"name": "features", "shape": [1, len(flower)], "datatype": "FP32", "data": flower}
    return {"inputs": [tensor]}


def _label(text: str) -> int:
    """Return the integer output, which is `predict` in MLServer and `label` in the model server."""
    (label,) = (output["data"][0] for output in json.loads(text)["outputs"] if output["datatype"] == "INT64")
    return int(label)
