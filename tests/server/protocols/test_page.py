"""The page at / in a real browser, for flowers and for very different data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.server.running import Server, running
from tests.server.training import IRIS, train
from tests.server.typed_models import HOME

FEATURES = [f'sensor <b>{number}</b> of "line"' for number in range(40)]
CLASSES = [f"fault <i>{number}</i>" for number in range(25)]


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Open a page; fail on errors, such as a violation of the content security policy."""
    errors: list[str] = []
    page = browser.new_page()
    page.on("console", lambda message: errors.append(message.text) if "violates" in message.text else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    page.close()
    assert errors == []


def test_page_typed_flower_shows_species_and_probability(server: Server, page: Page) -> None:
    page.goto(server.url)
    expect(page.get_by_role("heading", name="iris")).to_be_visible()
    expect(page.locator(".facts")).to_contain_text("version 7")
    expect(page.locator(".facts")).to_contain_text("accuracy 100.0%")
    assert [page.get_by_label(name.replace("_", " ")).get_attribute("placeholder") for name in IRIS] == [
        "5.843",
        "3.057",
        "3.758",
        "1.199",
    ]
    for label, value in (("sepal length", 6.3), ("sepal width", 3.3), ("petal length", 6), ("petal width", 2.5)):
        page.get_by_label(label).fill(str(value))
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".answer")).to_contain_text("virginica")
    shares = page.locator("li > div:first-child").all_inner_texts()
    assert [share.split()[0] for share in shares][:1] == ["virginica"]
    assert len(shares) == 3
    widths = [bar.evaluate("bar => bar.offsetWidth") for bar in page.locator(".bar").all()]
    assert widths[0] > widths[1] >= widths[2] == 0


def test_page_invalid_value_shows_error_at_its_field(server: Server, page: Page) -> None:
    page.goto(server.url)
    page.get_by_role("button", name="Fill in averages").click()
    page.locator("form").evaluate("form => form.noValidate = true")
    page.get_by_label("petal width").fill("99")
    page.get_by_role("button", name="Predict").click()
    expect(page.get_by_role("alert")).to_contain_text("petal_width: expected a number from 0 to 26.5")
    expect(page.get_by_label("petal width")).to_be_focused()
    assert page.locator("[aria-invalid]").count() == 1


def test_page_many_features_and_classes_escapes_their_names(browser: Browser, page: Page, folder: Path) -> None:
    random = np.random.default_rng(0)
    data = random.normal(5, 20, (200, len(FEATURES))).astype(np.float32)
    data[:, 3] = 7  # a column that never changes
    other = train(folder / "faults", data, random.integers(0, len(CLASSES), 200), FEATURES, CLASSES, "kind", trees=10)
    with running(folder / "faults.log", DIRECTORY=other.folder, WORKERS=1) as server:
        page.goto(server.url)
        page.get_by_role("button", name="Fill in averages").click()
        page.get_by_role("button", name="Predict").click()
        expect(page.locator(".answer")).to_have_text(re.compile(r"^kindfault <i>\d+</i>$"))
        expect(page.get_by_label(FEATURES[0])).to_be_visible()
        assert page.locator("li:visible .bar").count() == 10
        page.get_by_text("15 less likely").click()
        assert page.locator("li:visible .bar").count() == 25
        assert page.locator("b:not(.facts b), i").count() == 0


def test_page_typed_columns_have_fields_of_their_types(homes: Server, prices: Server, page: Page) -> None:
    page.goto(homes.url)
    assert page.get_by_label("district").locator("option").all_inner_texts() == ["choose", "east", "north", "west"]
    assert page.get_by_label("garden").locator("option").all_inner_texts() == ["choose", "false", "true"]
    assert page.get_by_label("built").get_attribute("type") == "date"
    assert page.get_by_label("built").get_attribute("min") == "1453-02-14"
    page.get_by_label("floors").fill("3")
    page.get_by_label("garden").select_option("true")
    page.get_by_label("district").select_option("north")
    page.get_by_role("button", name="Predict").click()  # with all other values missing
    missing = {"area": None, "heating": None, "built": None}
    expect(page.locator(".answer")).to_contain_text(homes.score(HOME | missing).json()["price_class"])
    page.get_by_role("button", name="Fill in averages").click()
    with page.expect_request("**/score") as sent:
        page.get_by_role("button", name="Predict").click()
    row: Any = sent.value.post_data_json
    assert (type(row["garden"]), type(row["floors"]), row["district"]) == (bool, int, "north")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", row["built"])
    page.goto(prices.url)
    expect(page.locator(".facts")).to_contain_text("predicts price, rent in 1000 EUR")
    page.get_by_role("button", name="Fill in averages").click()
    page.get_by_role("button", name="Predict").click()
    expect(page.locator(".answer").first).to_have_text(re.compile(r"^price[\d.]+ 1000 EUR$"))
    assert page.locator(".answer").count() == 2


def test_page_without_model_shows_reason(empty: Server, page: Page) -> None:
    page.goto(empty.url)
    expect(page.get_by_role("heading", name="No model is loaded")).to_be_visible()
    expect(page.get_by_role("status")).to_contain_text("MODEL_SERVER_ALIAS")


def test_page_content_security_policy_forbids_external_content(server: Server) -> None:
    response = server.get("/")
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert re.findall(r"https?://|url\(|@import", response.text) == []
    nonces = {*re.findall(r'nonce="([^"]+)"', response.text)}
    assert len(nonces) == 1
    assert nonces != {*re.findall(r'nonce="([^"]+)"', server.get("/").text)}


def test_page_contributions_of_a_prediction_are_shown_on_request(prices: Server, server: Server, page: Page) -> None:
    for url, shown in ((prices.url, "value of rent"), (server.url, "lack the numbers of training rows")):
        page.goto(url)
        page.get_by_role("button", name="Fill in averages").click()
        page.get_by_role("button", name="Predict").click()
        page.get_by_text("Contributions of the values").click()
        expect(page.locator("#answer")).to_contain_text(shown)
    page.goto(prices.url)
    page.get_by_role("button", name="Fill in averages").click()
    page.get_by_role("button", name="Predict").click()
    page.get_by_text("Contributions of the values").click()
    names = page.locator("li span:first-child")
    expect(names.first).to_have_text("average of the training data")
    expect(names.filter(has_text="district")).to_have_count(2)
