"""The thesis's scoring server: Flask's development server around an unpickled forest.

Two faults are fixed: the features have the order of the training data, and the server listens on loopback only. Start
it with `flask --app thesis_server run`; the environment variable FOREST names the pickle.
"""

from __future__ import annotations

import os
import pickle
from pathlib import Path

from flask import Flask, request

app = Flask(__name__)
forest = pickle.loads(Path(os.environ["FOREST"]).read_bytes())


@app.post("/score")
def score() -> str:
    flower = request.get_json()
    row = [flower["sepal_length"], flower["sepal_width"], flower["petal_length"], flower["petal_width"]]
    return str(forest.predict([row])[0])
