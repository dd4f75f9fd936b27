"""Models from a registry: pinned and followed, valid and broken, with the registry up and down."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from infra.local.free_ports import free_port
from tests.server.registry import Registry, relay
from tests.server.running import HOST, Server, running, wait_until
from tests.server.training import Trained, make_endless, make_hungry, train_iris
from tests.waiting import child_commands, until

SETOSA = {"petal_length": 1.4, "petal_width": 0.2, "sepal_length": 5.1, "sepal_width": 3.5}


@pytest.fixture(scope="module")
def second(folder: Path) -> Trained:
    """Train another forest for the same data."""
    return train_iris(folder / "second", trees=10)


@pytest.fixture(scope="module")
def followed(registry: Registry, iris: Trained, folder: Path) -> Iterator[Server]:
    """Start a server that follows the champion of the model `followed`, which is version 1."""
    registry.champion("followed", registry.register("followed", iris.folder, iris.sha256))
    settings = {"REGISTRY": registry.url, "MODEL": "followed", "ALIAS": "champion", "POLL_SECONDS": 0.2}
    settings |= {"CHECK_SECONDS": 20, "CHECK_MEMORY_BYTES": 1 << 29}
    with running(folder / "followed.log", CACHE=folder / "followed", **settings) as server:
        yield server


def serves(server: Server, version: str) -> bool:
    """Return True if all workers serve the version; twelve responses make a coincidence unlikely."""
    responses = [server.get("/v2/health/ready").json() for _ in range(12)]
    return all(response.get("model_version") == version for response in responses)


def test_follow_new_champion_serves_it_without_failed_requests(
    followed: Server, registry: Registry, iris: Trained, second: Trained
) -> None:
    assert serves(followed, "1")
    answers: list[tuple[int, str, str]] = []
    done = threading.Event()

    def score_until_done() -> None:
        while not done.is_set():
            response = followed.score(SETOSA)
            answers.append((response.status_code, response.json()["model_version"], response.json()["species"]))
            time.sleep(0.01)  # the trial of the new model needs the processor, too

    clients = [threading.Thread(target=score_until_done) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        version = registry.register("followed", second.folder, second.sha256)
        registry.champion("followed", version)
        wait_until(lambda: serves(followed, version), "the new champion is not served")
        registry.champion("followed", "1")
        wait_until(lambda: serves(followed, "1"), "the old champion is not served again")
    finally:
        done.set()
        for client in clients:
            client.join()
    assert set(answers) == {(200, "1", "setosa"), (200, version, "setosa")}
    assert f'version="{version}"}} 0.0' in followed.get("/metrics").text
    assert 'version="1"} 1.0' in followed.get("/metrics").text


def change(model: Path, **members: object) -> None:
    signature = json.loads((model / "signature.json").read_text())
    (model / "signature.json").write_text(json.dumps(signature | members))


def other_bytes(model: Path) -> None:
    (model / "model.onnx").write_bytes((model / "model.onnx").read_bytes() + b"\0")


def not_onnx(model: Path) -> None:
    (model / "model.onnx").write_bytes(b"not a model")
    change(model, sha256=digest(model))


def one_class_more(model: Path) -> None:
    change(model, classes=["setosa", "versicolor", "virginica", "another"])


def one_feature_less(model: Path) -> None:
    change(model, features=json.loads((model / "signature.json").read_text())["features"][:3])


def mangled_signature(model: Path) -> None:
    (model / "signature.json").write_text("{")


def no_signature(model: Path) -> None:
    (model / "signature.json").unlink()


def digest(model: Path) -> str:
    return hashlib.sha256((model / "model.onnx").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (other_bytes, "signature.json has"),
        (not_onnx, "ONNX Runtime refuses it"),
        (one_class_more, "shapes"),
        (one_feature_less, "ONNX Runtime refuses it"),
        (mangled_signature, "signature.json cannot be used"),
        (no_signature, "404"),
        (make_endless, "longer than 20 s (MODEL_SERVER_CHECK_SECONDS)"),
        (make_hungry, "more than 512 MiB of memory (MODEL_SERVER_CHECK_MEMORY_BYTES)"),
    ],
)
def test_follow_broken_champion_serves_old_one_and_reports_problem(
    followed: Server,
    registry: Registry,
    iris: Trained,
    tmp_path: Path,
    damage: Callable[[Path], None],
    message: str,
) -> None:
    model = shutil.copytree(iris.folder, tmp_path / "model")
    damage(model)
    version = registry.register("followed", model, digest(model))
    registry.champion("followed", version)
    wait_until(
        lambda: message in str(followed.get("/v2/health/ready").json()["problem"]), "the model was not refused", 60
    )
    time.sleep(1)  # five polls of each worker
    response = followed.score(SETOSA)
    assert (response.status_code, response.json()["model_version"]) == (200, "1")
    assert "may not be the newest model" in followed.get("/").text
    assert followed.log.read_text().count(f"version {version} is refused") <= len(followed.workers())
    registry.champion("followed", "1")
    wait_until(lambda: followed.get("/v2/health/ready").json()["problem"] is None, "the problem stays")


def test_version_whose_trial_was_killed_is_served_after_the_next_trial(
    followed: Server, registry: Registry, tmp_path: Path
) -> None:
    third = train_iris(tmp_path / "third", trees=3)
    version = registry.register("followed", third.folder, third.sha256)
    registry.champion("followed", version)
    os.kill(until(lambda: trials(followed), what="the trial")[0], signal.SIGKILL)  # as Linux does if memory is short
    until(lambda: "ended with SIGKILL" in str(followed.get("/v2/health/ready").json()["problem"]), what="the problem")
    until(lambda: serves(followed, version), what="the next trial")
    registry.champion("followed", "1")
    until(lambda: serves(followed, "1"), what="the champion of before")


def trials(server: Server) -> list[int]:
    """Return the processes that try a model."""
    return [pid for pid, command in child_commands(server.process.pid).items() if "model_server.trial" in command]


def test_models_refused_after_refusal_is_counted(followed: Server) -> None:
    (line,) = re.findall(
        r'^model_server_models_refused_total{model="followed"} (.+)$', followed.get("/metrics").text, re.MULTILINE
    )
    assert float(line) >= 1


def test_pinned_version_other_hash_in_registry_is_refused(registry: Registry, iris: Trained, folder: Path) -> None:
    version = registry.register("tagged", iris.folder, "0" * 64)
    with pinned(registry.url, folder, "tagged", version) as server:
        response = server.get("/v2/health/ready")
        assert response.status_code == 503
        assert f"the registry has {'0' * 64}" in response.json()["error"]


def test_pinned_version_other_hash_in_settings_is_not_served(registry: Registry, iris: Trained, folder: Path) -> None:
    version = registry.register("pinned", iris.folder, iris.sha256)
    with pinned(registry.url, folder, "pinned", version, SHA256="1" * 64) as server:
        ready, scored = server.get("/v2/health/ready"), server.score(SETOSA)
        assert (ready.status_code, scored.status_code) == (503, 503)
        assert f"MODEL_SERVER_SHA256 has {'1' * 64}" in ready.json()["error"]


def test_pinned_version_moved_champion_or_no_registry_stays_served(
    registry: Registry, iris: Trained, second: Trained, folder: Path
) -> None:
    first = registry.register("cached", iris.folder, iris.sha256)
    port = free_port()
    url = f"http://{HOST}:{port}"
    with relay(port, registry.url), pinned(url, folder, "cached", first, SHA256=iris.sha256) as server:
        registry.champion("cached", registry.register("cached", second.folder, second.sha256))
        time.sleep(1)  # five polls
        assert serves(server, first)
    with pinned(url, folder, "cached", first, SHA256=iris.sha256) as server:
        assert server.score(SETOSA).json()["species"] == "setosa"
    (folder / "cache" / "cached" / first / "model.onnx").write_bytes(b"spoilt")
    with pinned(url, folder, "cached", first) as server:
        assert "signature.json has" in server.get("/v2/health/ready").json()["error"]
        assert server.score(SETOSA).status_code == 503


def test_pinned_version_no_registry_and_no_cache_waits_for_registry(
    registry: Registry, iris: Trained, folder: Path
) -> None:
    port = free_port()
    with pinned(f"http://{HOST}:{port}", folder, "late", "1") as server:
        ready = server.get("/v2/health/ready")
        assert (ready.status_code, ready.json()["code"]) == (503, "no_model")
        assert "does not respond" in ready.json()["error"]
        assert server.score(SETOSA).status_code == 503
        for path in ("/", "/v2", "/v2/health/live", "/v2/models/late", "/metrics", "/openapi.json"):
            assert server.get(path).status_code == 200, path
        assert server.get("/v2/models/late").json()["versions"] == []
        registry.register("late", iris.folder, iris.sha256)
        with relay(port, registry.url):
            wait_until(lambda: serves(server, "1"), "the registry was never reached")


def test_follow_missing_alias_reports_model(registry: Registry, folder: Path) -> None:
    settings = {"REGISTRY": registry.url, "MODEL": "missing", "ALIAS": "champion", "CACHE": folder / "cache"}
    with running(folder / "missing.log", WORKERS=1, **settings) as server:
        assert "missing" in server.get("/v2/health/ready").json()["error"]


def pinned(url: str, folder: Path, name: str, version: str, **settings: object) -> AbstractContextManager[Server]:
    """Start a server of a pinned version, with one worker to start faster."""
    settings |= {"REGISTRY": url, "MODEL": name, "VERSION": version, "CACHE": folder / "cache"}
    return running(folder / f"{name}.log", WORKERS=1, POLL_SECONDS=0.2, **settings)
