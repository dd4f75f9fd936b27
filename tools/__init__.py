"""What `make` runs: bringing the tools in, and driving Pulumi."""
