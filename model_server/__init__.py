"""Serves one ONNX model over HTTP: `python -m model_server`, with the environment variables of `settings`."""
