"""The address of a Ray cluster: which one is meant, whether one answers there."""

import os
import socket
from contextlib import suppress
from dataclasses import dataclass

from uapfp_dist.errors import UserError

CONNECT_SECONDS = 10.0
"""For a connection, and as much for the first words."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
"""How HTTP/2, which all of Ray's servers speak, begins: a fixed text, then a frame of settings without any."""
FRAME_HEADER, SETTINGS = 9, 4
HERE = "local"
"""Ray's name for a cluster of one's own."""


@dataclass(frozen=True)
class Address:
    """Where a cluster is."""

    value: str | None
    """None: a local one, which ends with the job."""
    variable: str | None = None
    """Of the environment, that it came from."""

    def error(self, cause: str) -> UserError:
        """That there is no cluster, in one line.

        Args:
            cause: one line.
        """
        if self.value is None:
            return UserError(
                f"ray: expected to start on this machine, could not ({cause}); try again when it is less busy, or "
                "--workers 0"
            )
        from_variable = f" ({self.variable}={self.value} is set, perhaps for another cluster)" if self.variable else ""
        leave = f"unset {self.variable}" if self.variable else "leave it out"
        return UserError(
            f"ray: expected a cluster at {self.value}{from_variable}, could not reach it ({cause}); "
            f"{leave} to run here, or name another address",
            argument="address",
        )

    def check(self) -> None:
        """Fail within seconds where no Ray answers: Ray would try for minutes, or for ever.

        Raises:
            UserError: nothing listens there, what listens is silent or speaks another protocol, or the form is wrong.
        """
        if (self.value or "").startswith(("http://", "https://")):
            raise self.error(
                "that is the form of a dashboard, to which `ray job submit` sends; a cluster's is HOST:PORT or "
                "ray://HOST:PORT"
            )
        host, _, port = (self.value or "").removeprefix("ray://").rpartition(":")
        if not (host and port.isdigit()):
            return
        try:
            with socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS) as connection:
                if os.environ.get("RAY_USE_TLS", "0") != "1" and not _speaks_http2(connection):
                    raise self.error("what listens there is not Ray")
        except TimeoutError as error:
            raise self.error(f"no answer within {CONNECT_SECONDS:g} s") from error
        except (OSError, OverflowError) as error:
            raise self.error(str(error)) from error


def chosen_address(given: str | None) -> Address:
    """The address that was given, else that of the environment, else none."""
    if given:
        return Address(None if given == HERE else given)
    found = os.environ.get("RAY_ADDRESS")
    return Address(found, "RAY_ADDRESS") if found and found != HERE else Address(None)


def _speaks_http2(connection: socket.socket) -> bool:
    connection.sendall(PREFACE)
    said = b""
    with suppress(ConnectionError):
        while len(said) < FRAME_HEADER and (more := connection.recv(FRAME_HEADER - len(said))):
            said += more
    return len(said) == FRAME_HEADER and said[3] == SETTINGS
