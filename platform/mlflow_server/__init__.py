"""Programs that run beside MLflow's server, on this computer or in its pod, where only MLflow is installed."""
