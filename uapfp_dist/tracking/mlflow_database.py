"""An MLflow database that several jobs open for the first time at once."""

import os
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow import MlflowClient
from sqlalchemy import create_engine, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool

from uapfp_dist.file_lock import try_lock

LOCK_SECONDS = 60.0
"""For which a process waits for one that makes the tables; then it goes on without the lock."""
CONNECT_SECONDS = 10.0
"""For a connection to a database server."""
PAUSE_SECONDS = 0.1
SERVER_LOCKS = {
    "postgresql": "SELECT pg_try_advisory_lock(7126317)",
    "mysql": "SELECT GET_LOCK('uapfp_dist', 0)",
}
"""Dialect to a lock without waiting, which ends with its connection, so also with a killed process."""


@contextmanager
def first_start(uri: str) -> Iterator[None]:
    """While the block opens a database, no other job makes its tables.

    A sqlite file appears whole, with all tables. A database server is locked. Of other URIs this knows nothing.

    Args:
        uri: an MLflow tracking URI.

    Raises:
        OSError: the folder of a file cannot be written; nothing listens where a server should be.
        SQLAlchemyError: a database that refuses.
    """
    dialect = uri.partition("://")[0].partition("+")[0]
    if dialect == "sqlite":
        file = make_url(uri).database or ":memory:"
        if not file.startswith((":memory:", "file:")):
            _make_file(Path(file))
        yield
    elif dialect in SERVER_LOCKS:
        with _server_lock(make_url(uri), SERVER_LOCKS[dialect]):
            yield
    else:
        yield


def _make_file(path: Path) -> None:
    """Make the database where there is none: elsewhere, since MLflow needs a second or more, then under its name."""
    if _has_content(path):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("w") as lock:
        _wait_for(lambda: try_lock(lock))
        if _has_content(path):
            return
        copy = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")  # the store removes what a killed process left
        try:
            with tempfile.TemporaryDirectory() as folder:
                made = Path(folder, "mlflow.db")
                MlflowClient(f"sqlite:///{made}").search_experiments(max_results=1)
                shutil.copyfile(made, copy)
            _publish(copy, path)
        finally:
            copy.unlink(missing_ok=True)


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _publish(copy: Path, path: Path) -> None:
    """Give a database its name, unless another one has it: network file systems may have no locks."""
    try:
        os.link(copy, path)
    except FileExistsError:
        if not _has_content(path):  # left by a process that was killed
            os.replace(copy, path)
    except OSError:  # a file system without links
        os.replace(copy, path)


@contextmanager
def _server_lock(url: URL, statement: str) -> Iterator[None]:
    if url.host and url.port:  # drivers try for minutes
        socket.create_connection((url.host, url.port), CONNECT_SECONDS).close()
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        _wait_for(lambda: bool(connection.execute(text(statement)).scalar()))
        yield


def _wait_for(lock: Callable[[], bool]) -> None:
    until = time.monotonic() + LOCK_SECONDS
    while not lock() and time.monotonic() < until:
        time.sleep(PAUSE_SECONDS)
