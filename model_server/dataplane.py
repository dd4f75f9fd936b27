"""What the server does, whatever brings the request: bodies in, JSON-ready answers out."""

from __future__ import annotations

from typing import Any

import orjson

from model_server.codecs import inference_protocol
from model_server.codecs.json_decoder import json_value, utf8
from model_server.errors import RequestError
from model_server.loader import ModelLoader
from model_server.model.model import FEATURES, Model
from model_server.settings import Settings

JSON, CSV = "application/json", "text/csv"
Answer = dict[str, Any]


class DataPlane:
    """Answers requests with the model that the keeper holds at the moment.

    Every method raises RequestError where it cannot.
    """

    def __init__(self, settings: Settings, keeper: ModelLoader) -> None:
        self._settings = settings
        self._keeper = keeper

    def score(self, body: bytes, media_type: str) -> Answer:
        """The prediction for one JSON object, or those for a JSON list or a CSV file."""
        model = self.model()
        if media_type == JSON:
            content = json_value(body)
            if not isinstance(content, list):
                return _prediction(model, *model.predict_row(model.rows.of_object(content))) | model.identity
            rows = model.rows.of_objects(content)
        elif media_type == CSV:
            rows = model.rows.of_csv(utf8(body))
        else:
            raise _unsupported(media_type, f"{JSON} or {CSV}")
        return {"predictions": _predictions(model, rows)} | model.identity

    def score_plain(self, body: bytes) -> bytes | None:
        """The answer in JSON to a body that is one JSON object without a fault; None where it may be anything else."""
        model = self._keeper.model
        row = model.rows.of_plain(body) if model else None
        if model is None or row is None:
            return None
        return orjson.dumps(_prediction(model, *model.predict_row(row)) | model.identity)

    def infer(self, name: str, version: str | None, body: bytes, media_type: str) -> Answer:
        """The open inference protocol's answer to an inference request."""
        model = self.model(name, version)
        if media_type != JSON:
            raise _unsupported(media_type, JSON)
        request = json_value(body)
        inference_protocol.check_request(request)
        outputs = inference_protocol.wanted_outputs(request)
        labels, probabilities = model.predict(inference_protocol.rows_of(request, model))
        echoed = {"id": request["id"]} if "id" in request else {}
        tensors = inference_protocol.output_tensors(outputs, model, labels, probabilities)
        return model.identity | echoed | {"outputs": tensors}

    def model(self, name: str | None = None, version: str | None = None) -> Model:
        """The model that is served, if it is the one named."""
        model = self._keeper.model
        known = model.name if model else self._settings.model
        if name is not None and name != known:
            raise RequestError(404, "unknown_model", f"there is no model {name[:100]!r} here")
        if model is None:
            why = self.problem or "it is being fetched"
            raise RequestError(503, "no_model", f"no model is loaded: {why}")
        if version is not None and version != model.version:
            message = f"version {version[:100]!r} of {model.name} is not served; version {model.version} is"
            raise RequestError(404, "unknown_version", message)
        return model

    def served(self) -> Model | None:
        """The model that is served at the moment."""
        return self._keeper.model

    @property
    def problem(self) -> str | None:
        """Why there is no model, or why the newest is not served; None where all is well."""
        return self._keeper.problem

    def ready(self) -> Answer:
        """That a model is served, which one, and what keeps a newer one from being served."""
        return {"ready": True} | self.model().identity | {"problem": self.problem}

    def metadata(self, name: str, version: str | None) -> Answer:
        """The open inference protocol's description of a model, with its signature as parameters.

        While the model is not there, it has no version, and so no inputs and outputs.
        """
        about: Answer = {"name": name, "versions": [], "platform": "onnxruntime_onnx"}
        if version is None and self.served() is None and name == self._settings.model:
            return about | {"inputs": [], "outputs": [], "parameters": {}}
        model = self.model(name, version)
        features, classes = len(model.signature.features), len(model.signature.classes)
        return about | {
            "versions": [model.version],
            "inputs": [{"name": FEATURES, "datatype": "FP32", "shape": [-1, features]}],
            "outputs": [
                {"name": "label", "datatype": "INT64", "shape": [-1]},
                {"name": "probabilities", "datatype": "FP32", "shape": [-1, classes]},
            ],
            "parameters": model.signature.model_dump(mode="json"),
        }


def _predictions(model: Model, rows: list[list[float]]) -> list[Answer]:
    return [_prediction(model, *each) for each in zip(*model.predict(rows), strict=True)]


def _prediction(model: Model, label: int, probabilities: list[float]) -> Answer:
    signature = model.signature
    return {
        "class_index": label,
        signature.target: signature.classes[label],
        "probabilities": dict(zip(signature.classes, probabilities, strict=True)),
    }


def _unsupported(media_type: str, allowed: str) -> RequestError:
    found = media_type[:100] or "none"
    return RequestError(415, "unsupported_media_type", f"the content type must be {allowed}; it is {found}")
