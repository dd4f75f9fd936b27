"""The pages of the door in a real browser: sign in, start page, MLflow, sign out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from .processes import PASSWORDS, DoorProcesses


@contextmanager
def opened(browser: Browser, **options: Any) -> Iterator[Page]:
    """Yield a page that fails on errors, such as a violation of the content security policy."""
    errors: list[str] = []
    context = browser.new_context(ignore_https_errors=True, **options)
    page = context.new_page()
    page.on("console", lambda message: errors.append(message.text) if "violates" in message.text else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    yield page
    context.close()
    assert errors == []


def sign_in(page: Page, door: DoorProcesses, user: str, path: str = "/") -> None:
    """Sign in with the keyboard alone; the field of the user has the focus."""
    page.goto(door.url + path)
    expect(page.get_by_label("User")).to_be_focused()
    page.keyboard.type(user)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORDS[user])
    page.keyboard.press("Enter")


def test_start_page_shows_person_models_runs_and_links(browser: Browser, door: DoorProcesses) -> None:
    with opened(browser) as page:
        sign_in(page, door, "ed")
        expect(page.get_by_text("ed, editor")).to_be_visible()
        row = page.get_by_role("row").filter(has_text="secret")
        expect(row).to_contain_text("ready")
        expect(row).to_contain_text("private")
        expect(page.get_by_role("region", name="Last runs")).to_be_visible()
        canary = page.get_by_role("region", name="Canary")
        expect(canary.get_by_role("row").filter(has_text="requests")).to_contain_text("900")
        expect(canary.get_by_role("row").filter(has_text="requests")).to_contain_text("100")
        page.get_by_role("link", name="Runs and models (MLflow)").click()
        page.wait_for_url("**/mlflow/**")
        expect(page.get_by_role("link", name="Experiments").first).to_be_visible()


def test_sign_in_page_says_that_the_password_is_wrong(browser: Browser, door: DoorProcesses) -> None:
    with opened(browser) as page:
        page.goto(door.url)
        page.get_by_label("User").fill("ed")
        page.get_by_label("Password").fill("wrong")
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text("wrong")


def test_sign_out_leads_to_a_page_without_sign_on(browser: Browser, door: DoorProcesses) -> None:
    with opened(browser) as page:
        sign_in(page, door, "rob")
        page.get_by_role("button", name="Sign out").click()
        expect(page.get_by_role("heading", name="Signed out")).to_be_visible()
        page.goto(door.url)
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_page_without_a_right_says_so(browser: Browser, door: DoorProcesses) -> None:
    with opened(browser) as page:
        sign_in(page, door, "rob", "/models/secret/")
        expect(page.get_by_role("heading", name="No access")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [340, 1200])
def test_pages_fit_the_screen_and_have_contrast(browser: Browser, door: DoorProcesses, scheme: Any, width: int) -> None:
    with opened(browser, viewport={"width": width, "height": 700}, color_scheme=scheme) as page:
        page.goto(door.url)
        require_readable(page, width)
        sign_in(page, door, "rob")
        expect(page.get_by_text("rob, reader")).to_be_visible()
        require_readable(page, width)


def require_readable(page: Page, width: int) -> None:
    """Require that the page does not scroll sideways, and that text is readable on its background (WCAG AA)."""
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ratios = page.evaluate(
        """() => {
          const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
          const light = (color) => {
            canvas.fillStyle = color;
            canvas.fillRect(0, 0, 1, 1);
            const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((value) => {
              const share = value / 255;
              return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
            });
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const behind = light(getComputedStyle(document.documentElement).backgroundColor);
          return [...document.querySelectorAll('h1, h2, p, th, td, a, label, button, .good, .quiet')].map((each) => {
            const front = light(getComputedStyle(each).color);
            return (Math.max(front, behind) + 0.05) / (Math.min(front, behind) + 0.05);
          });
        }"""
    )
    assert ratios
    assert min(ratios) >= 4.5
