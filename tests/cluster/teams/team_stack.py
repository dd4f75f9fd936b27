"""A lab with a door and two teams in front of it, while a block lasts."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bcrypt
import requests
from mlplatform.k8s.namespace import team_namespace

from tests.harness import Stack

PASSWORD = "one password for all"
PERSONS = {"anna": "administrator", "sam": "editor", "tess": "editor"}
SERVICES = ("platform:tracking", "platform:monitoring")
UPLOAD = {"iris.csv": "workloads/data/iris.csv"}
QUOTA = {"cpu": 6, "memory_gb": 8, "storage_gb": 40}
SPACES = SHOP, SCIENCE = team_namespace("shop"), team_namespace("science")


@contextmanager
def two_teams(stack: Stack, **settings: Any) -> Iterator[dict[str, Any]]:
    """Put a door with two teams in front of the lab, train the model of one again, and remove both afterwards."""
    before = json.loads(json.dumps(stack.settings))
    address = stack.settings["platform:load_balancer"]["addresses"].partition("-")[2]
    digest = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    users = {name: {"role": role, "password_hash": digest} for name, role in PERSONS.items()}
    stack.settings |= {name: {"service": "ClusterIP"} for name in SERVICES}
    stack.settings |= {
        "serving:service": "ClusterIP",
        "platform:door": {"host": str(ipaddress.IPv4Address(address)), "users": users},
        "workloads:teams": {
            "shop": {
                "people": ["sam"],
                "pipelines": ["iris-external", "batch-predict"],
                "quota": QUOTA,
                "blobs": {"container": "shop-data", "upload": UPLOAD},
            },
            "science": {
                "people": ["tess"],
                "pipelines": ["iris-local"],
                "blobs": {"container": "science-data", "upload": UPLOAD},
            },
        },
        **settings,
    }
    stack.settings["workloads:pipelines"]["iris-external"]["parameters"]["trees"] = 20
    stack.up()
    yield stack.outputs("--show-secrets")
    stack.settings = before
    stack.up()


def signed_in(outputs: dict[str, Any], person: str, authority: Path) -> requests.Session:
    """Return the session of a person at the door; `authority` is the file for the certificate of its authority."""
    authority.write_text(outputs["door_authority"])
    url = str(outputs["door_url"]).rstrip("/")
    session = requests.Session()
    session.verify, session.trust_env = str(authority), False
    login = {"username": person, "password": PASSWORD, "rd": "/door/signed-out"}
    answer = session.post(f"{url}/oauth2/sign_in", data=login, headers={"Origin": url}, timeout=30)
    assert answer.status_code == 200, answer.text
    return session
