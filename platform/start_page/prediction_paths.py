"""Paths that the model server counts predictions under, in `path` of its metrics."""

from __future__ import annotations

PREDICTION_PATHS = "(/models/[^/]+)?/(score|invocations|v2/.+/infer)|/inference[.]GRPCInferenceService/ModelInfer"
"""Regular expression of whole paths, for Prometheus' queries and rules."""
