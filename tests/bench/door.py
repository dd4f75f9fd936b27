"""Requests a second through the door, next to those of the same model server without it."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from mlplatform.door.door_routes import PublishedModel

from settings.services.door_settings import DoorSettings
from tests.bench.forest import FLOWERS, Forest
from tests.bench.http.contenders import ours
from tests.bench.http.load import wrk
from tests.bench.http.servers import running
from tests.bench.http.serving import SECONDS, WARM_UP_SECONDS
from tests.bench.machinery import NotMeasured
from tests.door.processes import HOST, expires, missing_program, running_door
from tools.bootstrap.console import step

ROUNDS = 3
TOKEN = f"mlp_{'a' * 43}"
MODEL = "iris"


@dataclass(frozen=True)
class DoorRound:
    """Requests a second of one round: of the model server alone, and through the door with a token."""

    alone: float
    through: float

    @property
    def ratio(self) -> float:
        """Return the share of the rate that is left."""
        return self.through / self.alone


def measure(forest: Forest, folder: Path) -> list[DoorRound]:
    """Measure both addresses in turns. All processes share this computer, so the door takes time from the server.

    Raises:
        NotMeasured: this computer lacks a program.
    """
    missing = missing_program() or (None if shutil.which("wrk") else "wrk is not installed")
    if missing:
        raise NotMeasured(missing)
    server = ours(forest.directory)
    bodies = folder / "door.jsonl"
    bodies.write_text("".join(json.dumps(server.body(flower)) + "\n" for flower in FLOWERS))
    settings = DoorSettings(host=HOST, requests_per_second=100_000)
    models = {MODEL: PublishedModel(MODEL, server.port, "team", 1 << 20)}
    rounds = []
    with running(server, folder), tempfile.TemporaryDirectory() as name:
        files = Path(name)
        files.chmod(0o755)  # nginx's workers are of another user
        with running_door(files, settings, f"{HOST}:1", models, model_server=f"{HOST}:{server.port}") as door:
            grant = {"id": "bench", "team": "", "for": {f"model:{MODEL}": True}, "role": "editor", "expires": expires()}
            door.serve_tokens({TOKEN: grant})
            header = f"Bearer {TOKEN}"
            url = f"{door.url}/models/{MODEL}/score"
            for number in range(1, ROUNDS + 1):
                with step(f"Round {number}: the door"):
                    wrk(url, bodies, WARM_UP_SECONDS, header)
                    through = wrk(url, bodies, SECONDS, header)
                    wrk(server.url, bodies, WARM_UP_SECONDS)
                    alone = wrk(server.url, bodies, SECONDS)
                if through.errors or alone.errors:
                    raise RuntimeError(f"requests failed: {through.errors} through the door, {alone.errors} without it")
                rounds.append(DoorRound(alone.requests_per_second, through.requests_per_second))
    return rounds
