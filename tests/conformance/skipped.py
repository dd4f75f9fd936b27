"""Conformance tests that do not run here, as regular expressions of their names, each with the reason."""

SKIPPED = {
    "Sample API Server": "needs the image sample-apiserver, which is built outside the module of Kubernetes",
}
