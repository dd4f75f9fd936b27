"""Program that removes deleted runs with their files from an MLflow server: `python -m mlplatform.mlflow_server.purge`.

It reads one run id for each line of its standard input. It uses the database at MLFLOW_BACKEND_STORE_URI, and the
server at MLFLOW_TRACKING_URI for the files.
"""

from __future__ import annotations

import os
import sys

from mlplatform.mlflow_server.users import ADMINISTRATOR, PASSWORDS

IDS_AT_ONCE = 100


def main() -> None:
    """Remove the runs, of which each must have been deleted in MLflow before."""
    from mlflow.cli import gc

    if password := os.environ.get(PASSWORDS[ADMINISTRATOR]):
        os.environ |= {"MLFLOW_TRACKING_USERNAME": ADMINISTRATOR, "MLFLOW_TRACKING_PASSWORD": password}
    runs = sys.stdin.read().split()
    database = os.environ["MLFLOW_BACKEND_STORE_URI"]
    for first in range(0, len(runs), IDS_AT_ONCE):
        chosen = ",".join(runs[first : first + IDS_AT_ONCE])
        options = ["--backend-store-uri", database, "--tracking-uri", os.environ["MLFLOW_TRACKING_URI"]]
        gc.main([*options, "--run-ids", chosen], standalone_mode=False)


if __name__ == "__main__":
    main()
