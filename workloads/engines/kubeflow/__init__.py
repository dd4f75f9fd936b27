"""Pipelines in Kubeflow Pipelines: each step in a pod of its own, runs kept and shown in its pages."""
