"""Settings of services around the platform."""
