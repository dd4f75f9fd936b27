"""Engine for Kubeflow Pipelines: each step in its own pod, with runs in the pages of Kubeflow Pipelines."""
