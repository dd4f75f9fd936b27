"""The operations on one model without HTTP: request bodies in, JSON-ready responses out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from model_server.codecs.inference_protocol import InferenceRequest, encode_outputs, input_tensors
from model_server.codecs.json_decoder import decode_json, decode_text
from model_server.codecs.mlflow_protocol import decode_records
from model_server.codecs.plain_tables import read_csv_rows, read_json_rows
from model_server.errors import RequestError
from model_server.loader import ModelLoader, ServedModel
from model_server.model.contributions import KEY, SCALE, Contributions
from model_server.model.model import Model, Outputs, RowOutputs, Rows
from model_server.model.prediction_task import OutputTensor
from model_server.settings import ServerSettings
from model_server.telemetry import Telemetry

JSON, CSV, BINARY = "application/json", "text/csv", "application/octet-stream"
MOST_OPERATIONS = 1 << 28
"""Arithmetic operations of one request for contributions: a second or a few."""
Content = dict[str, Any]


class DataPlane:
    """Answers requests with the loader's current model; the methods raise RequestError if they cannot."""

    def __init__(self, settings: ServerSettings, loader: ModelLoader, telemetry: Telemetry) -> None:
        self._settings = settings
        self._loader = loader
        self._telemetry = telemetry

    def score(self, body: bytes, media_type: str, *, explain: bool = False) -> Content:
        """Return the prediction of one JSON object, or the predictions of a JSON list or a CSV file.

        Args:
            body: the request.
            media_type: its content type.
            explain: add the contributions of the features to each prediction.
        """
        served = self.served()
        model = served.model
        if media_type == JSON:
            content = decode_json(body)
            if not isinstance(content, list):
                row = served.reader.parse_object(content)
                explained = {KEY: self._explained(model, [row])[0]} if explain else {}
                outputs = self._predict_row(model, row)
                return model.task.answer(*outputs) | model.about | explained
            rows = served.reader.parse_objects(content)
        elif media_type == CSV:
            rows = served.reader.parse_csv(decode_text(body))
        else:
            raise _unsupported(media_type, f"{JSON} or {CSV}")
        predictions = self._predict_rows(model, rows)
        return predictions | {KEY: self._explained(model, rows)} if explain else predictions

    def score_fast(self, body: bytes, media_type: str) -> bytes | None:
        """Return in JSON what `score` returns for a plain body; None if `score` has to decide."""
        served = self._loader.served
        if served is None or media_type not in (JSON, CSV):
            return None
        if media_type == JSON and not body.startswith(b"["):
            row = served.reader.parse_fast(body)
            return None if row is None else served.model.encode_answer(*self._predict_row(served.model, row))
        rows = read_json_rows(served.reader, body) if media_type == JSON else read_csv_rows(served.reader, body)
        return None if rows is None else orjson.dumps(self._predict_rows(served.model, rows))

    def invocations(self, body: bytes, media_type: str) -> Content:
        """Return the predictions that MLflow's own server returns for the model, from the same requests."""
        served = self.served()
        if media_type == JSON:
            rows = served.reader.parse_objects(decode_records(body))
        elif media_type == CSV:
            rows = served.reader.parse_csv(decode_text(body))
        else:
            raise _unsupported(media_type, f"{JSON} or {CSV}")
        values = [output.tolist() for output in self._predict(served.model, rows)]
        return {"predictions": [served.model.task.record(*each) for each in zip(*values, strict=True)]}

    def infer(
        self, version: str | None, body: bytes, media_type: str, json_length: int | None = None
    ) -> tuple[Content, bytes]:
        """Return the open inference protocol's response to a request: its JSON object and its binary data.

        Args:
            version: version of the model; None for the served one.
            body: the request, with binary data after the JSON object if `json_length` is set.
            media_type: content type of the body.
            json_length: bytes of the JSON object; None if all of the body is JSON.
        """
        served = self.served(version)
        if media_type != JSON and json_length is None:
            raise _unsupported(media_type, JSON)
        return self.infer_decoded(served, InferenceRequest.decode(body, json_length))

    def infer_fast(self, version: str | None, body: bytes) -> bytes | None:
        """Return in JSON what `infer` returns for a plain request for one row; None if `infer` has to decide."""
        served = self._loader.served
        if served is None or version not in (None, served.model.version):
            return None
        decoded = served.plain.decode(body)
        if decoded is None:
            return None
        row, request_id = decoded
        return served.plain.encode(self._predict_row(served.model, row), request_id)

    def infer_decoded(self, served: ServedModel, request: InferenceRequest) -> tuple[Content, bytes]:
        """Return the response to a decoded request."""
        model = served.model
        tensors = list(model.task.outputs)
        requested = request.outputs([tensor.name for tensor in tensors])
        rows = request.rows(served.reader)
        outputs = list(self._predict(model, rows))
        members = {"id": request.content["id"]} if "id" in request.content else {}
        if KEY in requested:
            contributions = self._contributions(model, rows)
            found = np.stack([contributions.of(row) for row in np.asarray(rows, np.float32)])
            tensors.append(OutputTensor(KEY, "FP64", [-1, *found.shape[1:]]))
            outputs.append(found)
            members["parameters"] = {SCALE: contributions.scale}
        encoded, binary = encode_outputs(requested, tensors, outputs)
        return model.identity | members | {"outputs": encoded}, binary

    def served(self, version: str | None = None) -> ServedModel:
        """Return the served model if it has this version."""
        served = self._loader.served
        if served is None:
            reason = self.problem or "it is being fetched"
            raise RequestError(503, "no_model", f"no model is loaded: {reason}")
        model = served.model
        if version is not None and version != model.version:
            message = f"version {version[:100]!r} of {model.name} is not served; version {model.version} is"
            raise RequestError(404, "unknown_version", message)
        return served

    @property
    def name(self) -> str | None:
        """Name of the model; None if only the model itself will have it."""
        return self.model.name if self.model else self._settings.model

    @property
    def model(self) -> Model | None:
        """The served model; None if no model is loaded."""
        return self._loader.served.model if self._loader.served else None

    @property
    def problem(self) -> str | None:
        """The reason why no model, or not the newest one, is served; None if there is no problem."""
        return self._loader.problem

    def ready(self) -> Content:
        """Return the identity of the served model, and the problem with a newer one."""
        return {"ready": True} | self.served().model.identity | {"problem": self.problem}

    def metadata(self, version: str | None) -> Content:
        """Return the open inference protocol's description of the model, with its signature as parameters.

        Until the model is loaded, it has no versions, inputs and outputs.
        """
        about: Content = {"name": self.name, "versions": [], "platform": "onnxruntime_onnx"}
        if version is None and self.model is None:
            return about | {"inputs": [], "outputs": [], "parameters": {}}
        served = self.served(version)
        model = served.model
        return about | {
            "versions": [model.version],
            "inputs": input_tensors(served.reader.columns),
            "outputs": [output._asdict() for output in model.task.outputs],
            "parameters": model.signature.model_dump(mode="json", exclude_unset=True),
        }

    def _contributions(self, model: Model, rows: Rows) -> Contributions:
        """Return the contributions of a model, if it has them for as many rows."""
        contributions = model.contributions
        if isinstance(contributions, str):
            raise RequestError(400, "no_contributions", f"{model.name}: {contributions}")
        most = max(1, MOST_OPERATIONS // contributions.cost)
        if len(rows) > most:
            message = f"more rows than one request for contributions of {model.name} may have: {most}"
            raise RequestError(422, "too_many_rows", message, row=most)
        return contributions

    def _explained(self, model: Model, rows: Rows) -> list[Content]:
        contributions = self._contributions(model, rows)
        return [contributions.explain(row) for row in np.asarray(rows, np.float32)]

    def _predict_row(self, model: Model, row: Sequence[float]) -> RowOutputs:
        outputs, inputs = model.predict_row(row)
        self._telemetry.record_predictions(model, model.task.classes(outputs[:1]), inputs)
        return outputs

    def _predict_rows(self, model: Model, rows: Rows) -> Content:
        return {"predictions": model.task.answers(*self._predict(model, rows))} | model.about

    def _predict(self, model: Model, rows: Rows) -> Outputs:
        outputs, inputs = model.predict(rows)
        self._telemetry.record_predictions(model, model.task.classes(outputs[0].tolist()), inputs)
        return outputs


def _unsupported(media_type: str, allowed: str) -> RequestError:
    received = media_type[:100] or "none"
    return RequestError(415, "unsupported_media_type", f"the content type must be {allowed}; it is {received}")
