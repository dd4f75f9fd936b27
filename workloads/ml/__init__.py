"""What the components do: reading data, training, export, evaluation, registry and tracking.

Components import these modules inside their functions, so that a step pays only for the libraries it uses.
"""

import os

# Both would otherwise report their use to their makers, and keep an identifier of this machine for it.
os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "ORT_DISABLE_TELEMETRY": "1"}
