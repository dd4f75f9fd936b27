"""A small table of flats with a column of each type and empty cells, as CSV."""

from __future__ import annotations

from typing import Any

import numpy as np

ROWS = 120
COLUMNS: dict[str, Any] = {
    "size": {"missing": True},
    "city": {"missing": True},
    "since": {"missing": True},
    "garden": {"missing": True},
    "zip": "category",
}
"""The parameter `columns` with which the table is read."""


def flats_csv(rows: int = ROWS) -> bytes:
    """Return the table; a tenth of the cells in four columns is empty."""
    random = np.random.default_rng(0)
    size, rooms = random.normal(50, 10, rows), random.integers(1, 6, rows)
    city, garden = random.choice(["Bonn", "Köln", "Ulm"], rows), random.choice(["true", "false"], rows)
    days = np.datetime64("2015-01-01") + random.integers(0, 3000, rows)
    codes = random.integers(1, 5, rows) * 100
    price = size * 3 + rooms * 20 + (city == "Ulm") * 50 + random.normal(0, 5, rows)
    fast = np.where(price > np.median(price), "no", "yes")
    lines = ["size,rooms,city,since,garden,zip,fast,price"]
    for row in range(rows):
        cells = [f"{size[row]:.2f}", city[row], str(days[row]), garden[row]]
        present = ["" if random.random() < 0.1 else str(cell) for cell in cells]
        first, *others = present
        lines.append(",".join([first, str(rooms[row]), *others, f"{codes[row]:05d}", fast[row], f"{price[row]:.1f}"]))
    return ("\n".join(lines) + "\n").encode()
