"""Tables as public data sets have them, with their kinds of dirt: made here, with seeds."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

ROWS = 240


@dataclass(frozen=True)
class DirtyTable:
    """A file, and the settings with which it is read.

    Args:
        content: the CSV file.
        target: the column to predict.
        columns: the setting `columns` that answers the doubts of the reader.
        doubts: texts of the error without the setting `columns`; empty for a file without doubts.
        csv_format: the parameter `csv_format`.
        task: the parameter `task`.
    """

    content: bytes
    target: str
    columns: dict[str, Any] = field(default_factory=dict)
    doubts: Sequence[str] = ()
    csv_format: dict[str, str] = field(default_factory=dict)
    task: str = ""


def _write(
    header: Iterable[str], rows: Iterable[Iterable[Any]], separator: str = ",", encoding: str = "utf-8"
) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator)
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode(encoding)


def passengers() -> DirtyTable:
    """Return passengers of a ship: counted rows, names with commas and quotes, many empty cells."""
    random = np.random.default_rng(1)
    rows = []
    for number in range(1, ROWS + 1):
        sex, rank = random.choice(["male", "female"]), int(random.integers(1, 4))
        survived = int(random.random() < 0.2 + 0.5 * (sex == "female") + 0.1 * (3 - rank))
        age = "" if random.random() < 0.2 else f"{random.integers(1, 80)}"
        name = f'Doe, Mr. John "No. {number}"'
        ticket = f"A/5 {random.integers(10000, 99999)}"
        cabin = f"C{number}" if random.random() < 0.2 else ""
        fare, port = f"{random.exponential(30):.4f}", random.choice(["S", "C", "Q", ""], p=[0.7, 0.17, 0.1, 0.03])
        rows.append([number, survived, rank, name, sex, age, ticket, fare, cabin, port])
    header = ("PassengerId", "Survived", "Pclass", "Name", "Sex", "Age", "Ticket", "Fare", "Cabin", "Embarked")
    ignored = dict.fromkeys(("PassengerId", "Name", "Ticket", "Cabin"), "ignore")
    missing = {"Age": {"missing": True}, "Embarked": {"missing": True}}
    doubts = ("Name", "Age", "Ticket", "Cabin", "Embarked")
    return DirtyTable(_write(header, rows), "Survived", ignored | missing, doubts)


def incomes() -> DirtyTable:
    """Return incomes of adults: a space after each comma, and question marks in place of missing values."""
    random = np.random.default_rng(2)
    lines = ["age, workclass, education, hours-per-week, income"]
    for _ in range(ROWS):
        education = random.choice(["HS-grad", "Bachelors", "Masters"])
        work = random.choice(["Private", "State-gov", "?"], p=[0.7, 0.2, 0.1])
        age, hours = random.integers(17, 90), random.integers(10, 80)
        rich = random.random() < 0.1 + 0.3 * (education != "HS-grad") + 0.4 * (hours > 50)
        lines.append(f"{age}, {work}, {education}, {hours}, {'>50K' if rich else '<=50K'}")
    columns = {"workclass": {"missing": True, "missing_texts": ["?"]}}
    return DirtyTable(("\n".join(lines) + "\n").encode(), "income", columns, ("workclass",))


def wines() -> DirtyTable:
    """Return grades of wines: semicolons, names with spaces, grades of which some are rare."""
    random = np.random.default_rng(3)
    rows = []
    for _ in range(ROWS):
        acid, alcohol = random.normal(8, 1.5), random.normal(10.4, 1)
        quality = int(np.clip(round(2 + 0.35 * alcohol + random.normal(0, 0.6)), 3, 8))
        rows.append([f"{acid:.1f}", f"{random.uniform(0.9, 1.6):.3f}", f"{alcohol:.1f}", quality])
    content = _write(("fixed acidity", "citric acid", "alcohol", "quality"), rows, ";")
    return DirtyTable(content, "quality", task="regression")


def houses() -> DirtyTable:
    """Return prices of houses: NA in numbers and in texts, dotted names, integers to predict as numbers."""
    random = np.random.default_rng(4)
    rows = []
    for number in range(ROWS):
        area, year = int(random.integers(60, 300)), int(random.integers(1900, 2024))
        front = "NA" if random.random() < 0.2 else int(random.integers(20, 120))
        alley = random.choice(["NA", "Grvl", "Pave"], p=[0.8, 0.1, 0.1])
        price = int(1500 * area + 400 * (year - 1900) + random.normal(0, 8000))
        rows.append([2 * number + 7, random.choice(["RL", "RM", "FV"]), front, alley, year, area, price])
    header = ("Id", "MS.Zoning", "LotFrontage", "Alley", "YearBuilt", "GrLivArea", "SalePrice")
    absent = {"missing": True, "missing_texts": ["NA"]}
    columns = {"Id": "ignore", "LotFrontage": absent, "Alley": absent, "SalePrice": {"unit": "USD"}}
    return DirtyTable(_write(header, rows), "SalePrice", columns, ("LotFrontage",), task="regression")


def sensors() -> DirtyTable:
    """Return measurements of a machine: Latin-1, decimal commas, times, gaps, and one status of 20 rows."""
    random = np.random.default_rng(5)
    start = np.datetime64("2024-03-01T00:00:00")
    rows = []
    for number in range(ROWS):
        hot = random.random() < 0.3
        temperature = f"{random.normal(80 if hot else 60, 4):.2f}".replace(".", ",")
        pressure = "" if random.random() < 0.1 else f"{random.normal(1.0, 0.1):.3f}".replace(".", ",")
        time = str(start + np.timedelta64(15 * number, "m")).replace("T", " ")
        rows.append([time, temperature, pressure, "überhitzt" if hot else "normal"])
    content = _write(("Zeit", "Temperatur (°C)", "Druck", "Status"), rows, ";", "latin-1")
    csv_format = {"encoding": "latin-1", "decimal": ","}
    return DirtyTable(content, "Status", {"Druck": {"missing": True}}, ("Druck",), csv_format)


TABLES = {each.__name__: each() for each in (passengers, incomes, wines, houses, sensors)}
