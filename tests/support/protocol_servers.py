"""Servers by the published protocols, strict about what they are sent, with a count of the images."""

import base64
import io
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Model = Callable[[np.ndarray], Any]
"""(B, 1, 8, 8) floats in [0, 1] to (B, C) probabilities."""


class BadRequestError(Exception):
    """The server does not take this."""


@dataclass
class Request:
    """As it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Its JSON; nothing else is taken."""
        if self.headers["Content-Type"] != "application/json":
            raise BadRequestError("expected application/json")
        return json.loads(self.body)

    def form(self) -> dict[str, list[tuple[str | None, bytes]]]:
        """Field to its parts, (file name, bytes) each."""
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        message = BytesParser(policy=HTTP).parsebytes(head + self.body)
        if not message.is_multipart():
            raise BadRequestError("expected multipart/form-data")
        found: dict[str, list[tuple[str | None, bytes]]] = {}
        for part in message.iter_parts():  # type: ignore[attr-defined]
            name = part.get_param("name", header="content-disposition")
            found.setdefault(name, []).append((part.get_filename(), part.get_payload(decode=True)))
        return found


@dataclass
class Reply:
    """What goes back."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


Protocol = Callable[[Request, Model], tuple[int, Any]]
"""(images in the request, JSON that goes back)."""
Fault = Callable[[Request, int], Reply | None]
"""Sees a request and its number before the protocol does."""


@dataclass
class ProtocolServer:
    """What it serves and what it received."""

    protocol: Protocol
    model: Model
    fault: Fault | None = None
    url: str = ""
    images: int = 0
    requests: list[Request] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, request: Request) -> Reply:
        """The reply to a request."""
        with self.lock:
            self.requests.append(request)
            number = len(self.requests)
        if self.fault is not None and (reply := self.fault(request, number)) is not None:
            return reply
        try:
            n_images, found = self.protocol(request, self.model)
        except (BadRequestError, KeyError, ValueError, TypeError, OSError) as error:
            return Reply(400, json.dumps({"detail": f"{type(error).__name__}: {error}"}).encode())
        with self.lock:
            self.images += n_images
        return Reply(200, json.dumps(found).encode())


class _Handler(BaseHTTPRequestHandler):
    served: ProtocolServer

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def do_GET(self) -> None:
        self._answer(b"")

    def _answer(self, body: bytes) -> None:
        reply = self.served.answer(Request(self.path, dict(self.headers), body))
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Nothing: connections are closed on purpose."""


@contextmanager
def serving_protocol(
    protocol: Protocol,
    model: Model,
    fault: Fault | None = None,
    certificate: Path | None = None,
    client_authority: Path | None = None,
    port: int = 0,
) -> Iterator[ProtocolServer]:
    """A server on loopback; by TLS with a PEM file of certificate and key."""
    found = ProtocolServer(protocol, model, fault)
    server = _Server(("127.0.0.1", port), type("Handler", (_Handler,), {"served": found}))
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        if client_authority is not None:
            context.load_verify_locations(client_authority)
            context.verify_mode = ssl.CERT_REQUIRED
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    found.url = f"http{'s' if certificate else ''}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def pixels_of(file: bytes) -> np.ndarray:
    """(1, 8, 8) floats of a PNG file, as a server decodes it."""
    image = Image.open(io.BytesIO(file))
    if image.format != "PNG":
        raise BadRequestError(f"expected a PNG file, got {image.format}")
    return np.asarray(image.convert("L"), dtype=np.float32)[None] / np.float32(255)


def of_file(file: bytes, model: Model) -> np.ndarray:
    """(C,) probabilities."""
    return np.array(model(pixels_of(file)[None]))[0]


def instances(request: Request, model: Model) -> tuple[int, Any]:
    """TensorFlow Serving, KServe V1 and Vertex AI: a row for each image, a row back."""
    if not request.path.endswith(":predict"):
        raise BadRequestError("expected /v1/models/NAME:predict")
    rows = np.array(request.json["instances"], dtype=np.float32)
    return len(rows), {"predictions": np.array(model(rows)).tolist()}


def sagemaker(request: Request, model: Model) -> tuple[int, Any]:
    """The default handlers of its containers: a list in, a list out, at /invocations."""
    if request.path != "/invocations":
        raise BadRequestError("expected /invocations")
    rows = np.array(request.json, dtype=np.float32)
    return len(rows), np.array(model(rows)).tolist()


def sagemaker_image(request: Request, model: Model) -> tuple[int, Any]:
    """Its image classification: the file as the body, a list of probabilities."""
    if not request.headers["Content-Type"].startswith(("image/", "application/x-image")):
        raise BadRequestError("expected an image")
    return 1, of_file(request.body, model).tolist()


def torchserve(request: Request, model: Model) -> tuple[int, Any]:
    """Its image_classifier: the file as the body, five classes with their probabilities."""
    if not request.path.startswith("/predictions/"):
        raise BadRequestError("expected /predictions/NAME")
    probabilities = of_file(request.body, model)
    return 1, {str(i): float(probabilities[i]) for i in np.argsort(-probabilities)[:5]}


def hugging_face(request: Request, model: Model) -> tuple[int, Any]:
    """Image classification: the file as the body, labels with their scores, the best first."""
    probabilities = of_file(request.body, model)
    return 1, [{"label": str(i), "score": float(probabilities[i])} for i in np.argsort(-probabilities)[:5]]


def vertex_image(request: Request, model: Model) -> tuple[int, Any]:
    """AutoML image classification: base64 in, parallel lists out."""
    rows = []
    most = request.json["parameters"]["maxPredictions"]
    for one in request.json["instances"]:
        probabilities = of_file(base64.b64decode(one["content"], validate=True), model)
        best = np.argsort(-probabilities)[:most]
        names = [str(i) for i in best]
        rows.append({"displayNames": names, "confidences": probabilities[best].tolist(), "ids": names})
    return len(rows), {"predictions": rows, "deployedModelId": "1"}


def upload(name: str) -> Protocol:
    """A form with one file, as a FastAPI or BentoML service takes it; a label and its score."""

    def respond(request: Request, model: Model) -> tuple[int, Any]:
        ((file_name, content),) = request.form()[name]
        if not file_name:
            raise BadRequestError("expected a file")
        probabilities = of_file(content, model)
        return 1, {"label": str(probabilities.argmax()), "score": float(probabilities.max())}

    return respond


def mlflow(request: Request, model: Model) -> tuple[int, Any]:
    """The scoring protocol: exactly one of its three forms."""
    body = request.json
    ((form, value),) = body.items()
    if form == "dataframe_split":
        rows = np.array([pixels_of(base64.b64decode(row[0])) for row in value["data"]])
        if value["columns"] != ["image"]:
            raise BadRequestError("expected a column image")
    elif form in ("inputs", "instances"):
        rows = np.array(value, dtype=np.float32)
    else:
        raise BadRequestError(form)
    return len(rows), {"predictions": np.array(model(rows)).tolist()}
