"""Write the two tables of docs/own-table.md beside this file: made up, the same on every run."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
MEASUREMENTS = 13
"""Numbers of each sample in samples.csv."""


def flats(rows: int = 400) -> list[list[str]]:
    """Return rents of flats: numbers, a category, a date, codes with leading zeros, and empty cells."""
    random = np.random.default_rng(7)
    table = [["area", "rooms", "district", "built", "balcony", "postcode", "rent"]]
    for _ in range(rows):
        area, rooms = max(float(random.normal(70, 20)), 20.0), int(random.integers(1, 6))
        district, balcony = str(random.choice(["north", "south", "harbour"])), bool(random.random() < 0.4)
        built = np.datetime64("1950-01-01") + int(random.integers(0, 26_000))
        rent = 9 * area + 25 * rooms + 180 * (district == "harbour") + 60 * balcony + random.normal(0, 25)
        postcode = f"{int(random.integers(1, 9)) * 111:05d}"
        row = [f"{area:.1f}", str(rooms), district, str(built), str(balcony).lower(), postcode, f"{rent:.2f}"]
        row[0] = "" if random.random() < 0.05 else row[0]
        row[3] = "" if random.random() < 0.1 else row[3]
        table.append(row)
    return table


def samples(rows: int = 180) -> list[list[str]]:
    """Return samples of three kinds with 13 measurements each."""
    random = np.random.default_rng(8)
    centres = random.normal(0, 2, (3, MEASUREMENTS))
    table = [[*(f"m{number}" for number in range(1, MEASUREMENTS + 1)), "kind"]]
    for row in range(rows):
        values = centres[row % 3] + random.normal(0, 1, MEASUREMENTS)
        table.append([*(f"{value:.3f}" for value in values), "abc"[row % 3]])
    return table


if __name__ == "__main__":
    for name, table in {"flats": flats(), "samples": samples()}.items():
        with (FOLDER / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(table)
