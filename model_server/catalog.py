"""The models of a server by name."""

from __future__ import annotations

from collections.abc import Sequence

from model_server.codecs.inference_protocol import check_members
from model_server.codecs.json_decoder import decode_json
from model_server.dataplane import Content, DataPlane
from model_server.errors import RequestError


class ModelCatalog:
    """At least one model; a request that names no model is for the first one.

    A model that cannot be served leaves the others as they are.
    """

    def __init__(self, models: Sequence[DataPlane]) -> None:
        self.models = models
        self.first = models[0]

    def find(self, name: str) -> DataPlane:
        """Return the model of this name."""
        for plane in self.models:
            if plane.name == name:
                return plane
        raise RequestError(404, "unknown_model", f"there is no model {name[:100]!r} here")

    def index(self, body: bytes) -> list[Content]:
        """Return the open inference protocol's index of models; `{"ready": true}` selects those that are ready."""
        request = decode_json(body) if body else {}
        check_members(request, "", required=set(), optional={"ready"})
        only_ready = request.get("ready", False)
        if type(only_ready) is not bool:
            raise RequestError(422, "unexpected_value", "ready: expected a boolean", field="ready")
        return [
            {"name": plane.name, "version": plane.model.version, "state": "READY", "reason": ""}
            if plane.model
            else {"name": plane.name, "version": "", "state": "UNAVAILABLE", "reason": plane.problem or ""}
            for plane in self.models
            if plane.model or (plane.name and not only_ready)
        ]

    @property
    def ready(self) -> bool:
        """True if any model is served."""
        return any(plane.model for plane in self.models)

    def health(self) -> Content:
        """Return the served models, and the problems with others or with newer versions.

        Raises:
            RequestError: no model is served.
        """
        if len(self.models) == 1:
            return self.first.ready()
        problems = "; ".join(f"{plane.name}: {plane.problem}" for plane in self.models if plane.problem)
        if not self.ready:
            raise RequestError(503, "no_model", f"no model is loaded: {problems or 'they are being fetched'}")
        return {
            "ready": True,
            "problem": problems or None,
            "models": [
                {
                    "name": plane.name,
                    "version": plane.model.version if plane.model else "",
                    "ready": plane.model is not None,
                    "problem": plane.problem,
                }
                for plane in self.models
            ],
        }
