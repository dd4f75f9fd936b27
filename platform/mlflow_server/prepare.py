"""Program that prepares the databases of an MLflow server: `python -m mlplatform.mlflow_server.prepare`.

It upgrades the database at MLFLOW_BACKEND_STORE_URI. With MLFLOW_AUTH_CONFIG_PATH, it sets up the users in the database
of that configuration. Arguments are a command that replaces the program at its end, such as the server's.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from mlplatform.mlflow_server.database_upgrade import UpgradeError, upgrade_database
from mlplatform.mlflow_server.teams import TEAMS_FILE, set_up_teams
from mlplatform.mlflow_server.users import PASSWORDS, set_up_users

BACKED_UP = "--backed-up"
"""Option that permits the upgrade of a database other than a SQLite file."""


def main() -> None:
    """Prepare the databases, then run the command of the arguments."""
    parser = argparse.ArgumentParser(description="Prepare the databases of an MLflow server.")
    parser.add_argument(BACKED_UP, action="store_true")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    try:
        upgrade_database(os.environ["MLFLOW_BACKEND_STORE_URI"], arguments.backed_up)
    except UpgradeError as error:
        sys.exit(str(error))
    if "MLFLOW_AUTH_CONFIG_PATH" in os.environ:
        from mlflow.server.auth.config import read_auth_config

        passwords = {user: os.environ[variable] for user, variable in PASSWORDS.items()}
        store = set_up_users(read_auth_config().database_uri, passwords)
        if file := os.environ.get(TEAMS_FILE):
            set_up_teams(store, Path(file), os.environ["MLFLOW_BACKEND_STORE_URI"])
    if arguments.command:
        os.execv(arguments.command[0], arguments.command)


if __name__ == "__main__":
    main()
