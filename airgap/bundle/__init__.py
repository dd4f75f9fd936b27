"""The air-gapped bundle: binaries and images built from source, and a registry that serves the images."""
