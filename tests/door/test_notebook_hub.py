"""A real JupyterHub behind the door, with servers as processes; `make test-notebook` runs it, `make test` does not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import websocket
from playwright.sync_api import Browser, expect

from infra.local.free_ports import free_port
from settings.paths import PROJECT
from settings.services.door_settings import DoorSettings
from settings.services.team_settings import TeamSettings
from tests.notebook_client import NotebookClient
from tests.preview.rendered import graph_of
from tests.preview.test_manifests import plain
from tests.waiting import until
from tools.bootstrap.environment import install_notebook_environment, install_npm_packages, node_program

from .processes import HOST, NOTEBOOKS_KEY, DoorProcesses, answers, process, running_door
from .test_start_page import opened, sign_in

TEAMS = {
    "shop": TeamSettings.model_validate({"people": ["sam", "rae"]}),
    "science": TeamSettings.model_validate({"people": ["tess"]}),
}
LOCAL = """
load_subconfig("{project}/platform/notebook_hub/hub_config.py")
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = "{homes}/{{username}}"
c.Spawner.args = ["--allow-root"]
c.Spawner.default_url = "/lab"
"""
"""Configuration with servers as processes of this computer."""


@dataclass(frozen=True)
class Hub:
    """A running hub at `url`, and the door in front of it."""

    url: str
    door: DoorProcesses

    def person(self, name: str) -> NotebookClient:
        return NotebookClient(self.door.url, self.door.signed_in(name), name)


@pytest.fixture(scope="module")
def hub(folder: Path) -> Iterator[Hub]:
    environment = install_notebook_environment("hub")
    data, homes, proxy, modules = (folder / name for name in ("hub-data", "homes", "proxy", "modules"))
    for each in (data, homes, proxy, modules):
        each.mkdir(mode=0o700)
    (modules / "mlplatform").symlink_to(PROJECT / "platform")
    install_npm_packages(PROJECT / "platform/notebooks/image", proxy, folder / "npm.log")
    ports = {name: free_port() for name in ("hub_port", "proxy_port", "proxy_api_port")}
    url = f"http://{HOST}:{ports['hub_port']}"
    program = proxy / "node_modules/configurable-http-proxy/bin/configurable-http-proxy"
    rendered = plain(graph_of("notebooks of teams").of("ConfigMap")["notebooks-settings"])["data"]["settings.json"]
    changed: dict[str, Any] = {
        **{"address": HOST, "hub_url": url, "data": str(data), "idle_minutes": 1, "environment": {}, **ports},
        "proxy": [str(node_program() / "bin" / "node"), str(program)],
    }
    (folder / "hub.json").write_text(json.dumps(json.loads(rendered) | changed))
    (folder / "hub.py").write_text(LOCAL.format(project=PROJECT, homes=homes))
    variables = {
        "NOTEBOOKS_SETTINGS": str(folder / "hub.json"),
        "NOTEBOOKS_KEY": NOTEBOOKS_KEY,
        "PYTHONPATH": str(modules),
        "PATH": f"{environment / 'bin'}:/usr/bin:/bin",
    }
    addresses = {"notebooks": f"{HOST}:{ports['proxy_port']}", "notebooks_hub": f"{HOST}:{ports['hub_port']}"}
    (folder / "hub-door").mkdir()
    with ExitStack() as stack:
        command = [str(environment / "bin" / "python"), "-m", "jupyterhub", "-f", str(folder / "hub.py")]
        process(stack, folder, "hub", command, variables)
        door = DoorSettings(host=HOST)
        nowhere = f"http://{HOST}:1"  # MLflow is not needed
        door_files = folder / "hub-door"
        running = stack.enter_context(running_door(door_files, door, nowhere, {}, TEAMS, notebooks=addresses))
        until(lambda: answers(f"{url}/notebooks/hub/health"), seconds=120, what=(folder / "hub.log").read_text())
        yield Hub(url, running)
    if PROJECT.is_relative_to("/tmp"):  # a temporary checkout
        shutil.rmtree(environment)


@pytest.fixture(scope="module")
def sam(hub: Hub) -> NotebookClient:
    person = hub.person("sam")
    person.start()
    return person


def test_person_of_a_team_runs_a_cell_through_the_door(sam: NotebookClient) -> None:
    assert sam.execute("print(6 * 7)") == "42\n"
    assert "ZeroDivisionError" in sam.execute("1 / 0")


def test_server_sees_neither_the_session_nor_the_key_of_the_door(sam: NotebookClient) -> None:
    answer = sam.session.get(f"{sam.server}/api/me", timeout=30)
    assert answer.json()["identity"]["username"] == "sam"
    environment = sam.execute("import os; print(dict(os.environ))")
    assert NOTEBOOKS_KEY not in environment


def test_person_of_another_team_opens_neither_the_server_nor_its_kernels(hub: Hub, sam: NotebookClient) -> None:
    tess = hub.person("tess")
    for path in ("/lab", "/api/kernels", "/api/contents"):
        assert tess.session.get(sam.server + path, timeout=30).status_code == 403, path
    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        tess.connect(f"{sam.server}/api/events/subscribe")
    assert tess.session.get(f"{hub.door.url}/notebooks/hub/api/users/sam", timeout=30).status_code in (403, 404)


def test_page_of_another_site_opens_no_kernel(sam: NotebookClient) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException, match="403"):
        sam.connect(f"{sam.server}/api/events/subscribe", origin="https://evil.example")


def test_cookies_of_another_person_give_no_access_to_the_hub(hub: Hub, sam: NotebookClient) -> None:
    tess = hub.person("tess")
    for cookie in sam.session.cookies:
        if cookie.name.startswith("jupyterhub-"):
            tess.session.cookies.set_cookie(cookie)
    page = tess.session.get(f"{hub.door.url}/notebooks/hub/home", timeout=30)
    assert (page.status_code, "tess" in page.text, "sam" in page.text) == (200, True, False)


@pytest.mark.parametrize("key", [None, "", "guess"])
def test_hub_does_not_believe_a_person_without_the_key(hub: Hub, key: str | None) -> None:
    spoofed = {"X-Door-User": "sam", "X-Door-Role": "administrator", "X-Door-Teams": "*,shop"}
    headers = spoofed | ({} if key is None else {"X-Door-Key": key})
    session = requests.Session()
    assert session.get(f"{hub.url}/notebooks/hub/home", headers=headers, timeout=30).status_code == 403
    assert session.get(f"{hub.url}/notebooks/hub/login", headers=headers, timeout=30).status_code == 403
    assert session.get(f"{hub.url}/notebooks/hub/api/users", headers=headers, timeout=30).status_code == 403


def test_hub_is_closed_to_readers_and_persons_without_a_team(hub: Hub) -> None:
    statuses = {
        name: hub.door.signed_in(name).get(f"{hub.door.url}/notebooks/hub/home", timeout=30).status_code
        for name in ("rae", "rob", "ed", "anna")
    }
    assert statuses == {"rae": 403, "rob": 403, "ed": 403, "anna": 200}


def test_browser_opens_jupyterlab_and_runs_a_cell(hub: Hub, browser: Browser) -> None:
    with opened(browser) as page:
        sign_in(page, hub.door, "tess", "/notebooks/")
        page.wait_for_url("**/lab**", timeout=120_000)
        page.locator('.jp-LauncherCard[data-category="Notebook"]').click(timeout=120_000)
        page.locator(".jp-Notebook .cm-content").click(timeout=120_000)
        # JupyterLab forgets a cell that is run before the page has its kernel.
        expect(page.get_by_role("button", name="Python 3 (ipykernel) | Idle")).to_be_visible(timeout=120_000)
        page.keyboard.type("print(6 * 7)")
        page.keyboard.press("Shift+Enter")
        expect(page.locator(".jp-OutputArea-output pre")).to_have_text("42", timeout=120_000)


def test_idle_server_stops_and_its_files_stay(sam: NotebookClient) -> None:
    sam.start()  # the tests before may have taken longer than an idle server is kept
    sam.execute("import pathlib; pathlib.Path.home().joinpath('kept.txt').write_text('mine')")
    until(sam.stopped, seconds=400, what="the end of the idle server")
    sam.start()
    assert sam.execute("import pathlib; print(pathlib.Path.home().joinpath('kept.txt').read_text())") == "mine\n"
