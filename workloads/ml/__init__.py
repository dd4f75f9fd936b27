"""Library of the components: data, training, export, evaluation, the model registry and experiment tracking.

Components import these modules inside their functions, so that a step loads only the libraries it uses.
"""

import os

# Without these variables, both libraries send usage reports and store an identifier of this machine.
os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "ORT_DISABLE_TELEMETRY": "1"}
