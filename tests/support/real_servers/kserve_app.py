"""KServe's model server, both of its protocols."""

import os
from typing import Any

import numpy as np
import toy_model
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer


class Toy(Model):
    """The toy."""

    def __init__(self) -> None:
        super().__init__("toy")
        self.ready = True

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """V1: a dictionary; V2: tensors."""
        if not isinstance(payload, InferRequest):
            return {"predictions": toy_model.probabilities(payload["instances"]).tolist()}
        (tensor,) = payload.inputs
        found = toy_model.probabilities(tensor.as_numpy())
        output = InferOutput(name="probabilities", shape=list(found.shape), datatype="FP32")
        output.set_data_from_numpy(found.astype(np.float32), binary_data=False)
        return InferResponse(response_id=payload.id, model_name="toy", infer_outputs=[output])


if __name__ == "__main__":
    ModelServer(http_port=int(os.environ["PORT"]), enable_grpc=False, workers=1).start([Toy()])
