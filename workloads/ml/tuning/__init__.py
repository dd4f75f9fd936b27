"""Search for the best estimator and parameters: trials by cross-validation, recorded as child runs in MLflow."""
