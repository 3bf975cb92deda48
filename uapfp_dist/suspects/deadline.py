"""A deadline over a whole connection."""

import contextlib
import socket
import threading
import time


class Deadline:
    """Shuts a socket down when the time is over: timeouts of single reads never expire while bytes keep trickling in.

    Args:
        seconds: from now.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds, self.expired = seconds, False
        self._end = time.monotonic() + seconds
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True
        self._timer.start()

    def watch(self, sock: socket.socket) -> None:
        """Watch this socket from now on.

        Raises:
            TimeoutError: the time is over.
        """
        self._socket = sock
        if self.expired:
            raise TimeoutError
        sock.settimeout(max(self._end - time.monotonic(), 0.001))

    def caused(self, error: Exception) -> bool:
        """Whether the error comes from the time being over."""
        return self.expired or isinstance(error, TimeoutError)

    def cancel(self) -> None:
        """Stop watching."""
        self._timer.cancel()

    def _expire(self) -> None:
        self.expired = True
        with contextlib.suppress(OSError):
            if self._socket is not None:
                # Not the method of an SSLSocket, which would reset its state under the thread that reads.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
