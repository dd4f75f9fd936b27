"""Workloads of a stack: pipelines, the engines that run them, their components, and the services of their models."""

import os

NO_USAGE_REPORTS = {"MLFLOW_DISABLE_TELEMETRY": "true", "ORT_DISABLE_TELEMETRY": "1"}
"""Environment variables without which MLflow and ONNX Runtime send usage reports, and keep an identifier."""
os.environ |= NO_USAGE_REPORTS
