"""A deadline over a whole connection."""

import contextlib
import socket
import threading
import time


class _Watch:
    """Ends a connection under the hands of whoever waits on it: timeouts of single reads never fire on a slow drip."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.late = seconds, False
        self._deadline = time.monotonic() + seconds
        self._line: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._cut)
        self._timer.daemon = True
        self._timer.start()

    def over(self, line: socket.socket) -> None:
        """Watch this one from now on.

        Raises:
            TimeoutError: the time is over.
        """
        self._line = line
        if self.late:
            raise TimeoutError
        line.settimeout(max(self._deadline - time.monotonic(), 0.001))

    def is_why(self, error: Exception) -> bool:
        """Whether a failure comes of the time being over."""
        return self.late or isinstance(error, TimeoutError)

    def end(self) -> None:
        """The answer is there, or will not come."""
        self._timer.cancel()

    def _cut(self) -> None:
        self.late = True
        with contextlib.suppress(OSError):
            if self._line is not None:
                socket.socket.shutdown(self._line, socket.SHUT_RDWR)  # an SSLSocket's own would take its state apart
