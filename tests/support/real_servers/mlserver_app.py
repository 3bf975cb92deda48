"""An MLServer runtime that, as its scikit-learn runtime does, gives labels unless `predict_proba` is asked for."""

import asyncio
import os

import toy_model
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse, MetadataTensor


class Toy(MLModel):
    """The toy."""

    async def load(self) -> bool:
        """Nothing to load."""
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """The outputs that are asked for."""
        found = toy_model.probabilities(NumpyCodec.decode_input(payload.inputs[0]))
        asked = [output.name for output in payload.outputs or []] or ["predict"]
        all_outputs = {"predict": found.argmax(1), "predict_proba": found}
        outputs = [NumpyCodec.encode_output(name, all_outputs[name]) for name in asked]
        return InferenceResponse(model_name=self.name, outputs=outputs)


async def main() -> None:
    """Serve until it is ended."""
    port = int(os.environ["PORT"])
    settings = Settings(http_port=port, grpc_port=port + 1, metrics_endpoint=None, parallel_workers=0)
    server = MLServer(settings)
    pixels = MetadataTensor(name="pixels", datatype="FP32", shape=[-1, 1, 8, 8])
    await server.start([ModelSettings(name="toy", implementation=Toy, inputs=[pixels])])


if __name__ == "__main__":
    asyncio.run(main())
