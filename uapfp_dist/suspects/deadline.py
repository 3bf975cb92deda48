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
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True
        self._timer.start()

    @property
    def left(self) -> float:
        """Seconds, at least a millisecond: 0 means no timeout to a socket."""
        return max(self._end - time.monotonic(), 0.001)

    def watch(self, sock: socket.socket) -> None:
        """Watch this connection from now on, also when TLS wraps its socket.

        Raises:
            TimeoutError: the time is over.
        """
        with self._lock:
            self._close()
            # A second descriptor of the same connection: wrapping a socket empties it, and closing it is its owner's.
            self._socket = sock.dup()
        if self.expired:
            raise TimeoutError
        sock.settimeout(self.left)

    def caused(self, error: Exception) -> bool:
        """Whether the error comes from the time being over."""
        return self.expired or isinstance(error, TimeoutError)

    def cancel(self) -> None:
        """Stop watching."""
        self._timer.cancel()
        with self._lock:
            self._close()

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _expire(self) -> None:
        with self._lock:
            self.expired = True
            with contextlib.suppress(OSError):
                if self._socket is not None:
                    self._socket.shutdown(socket.SHUT_RDWR)
