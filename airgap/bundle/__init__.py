"""The air-gapped bundle: binaries and images built from source, and a registry filled with them."""
