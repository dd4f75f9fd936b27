"""Serves one ONNX model over HTTP: `python -m model_server`, with the environment variables of `settings`."""

import os

# Without it, ONNX Runtime sends usage reports to its makers, and keeps an identifier of this computer.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
