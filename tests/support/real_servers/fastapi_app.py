"""A FastAPI upload of a picture."""

import os
from typing import Annotated, Any

import toy_model
import uvicorn
from fastapi import FastAPI, File

app = FastAPI()


@app.get("/ping")
def ping() -> str:
    """It is there."""
    return "pong"


@app.post("/predict")
def predict(file: Annotated[bytes, File()]) -> dict[str, Any]:
    """A label and its score."""
    return toy_model.label_and_score(toy_model.of_file(file))


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ["PORT"]), log_level="warning")
