"""How many images a request holds: as many as go well, fewer where a server has a limit, whatever it calls that."""

FIRST_BATCH = 1
"""Images in the first request: one is lost to a refusal. While all goes well every response doubles the next one."""
SLOW_START = 10
"""Responses in a row that it takes to double once there was a failure; a second failure in a row halves."""


class BatchSize:
    """Images of the next request.

    Args:
        largest: never more.
    """

    def __init__(self, largest: int) -> None:
        self.now = min(FIRST_BATCH, largest)
        self._largest = largest
        self._successes, self._successes_to_grow = 0, 1
        self._failed_before: int | None = None

    def succeeded(self) -> None:
        """A request went well."""
        self._successes += 1
        if self._successes >= self._successes_to_grow:
            self.now, self._successes = min(2 * self.now, self._largest), 0

    def failed(self, n_images: int, *, halve: bool) -> None:
        """A request of so many images failed.

        Args:
            n_images: that it held.
            halve: the next one holds half as many; for good where so many failed before, with smaller requests that
                went well between.
        """
        self._successes, self._successes_to_grow = 0, SLOW_START
        if not halve:
            return
        half = max(1, min(self.now, n_images) // 2)
        if n_images > 1:
            if self._failed_before is not None and n_images >= self._failed_before:
                self._largest = min(self._largest, half)
            self._failed_before = min(n_images, self._failed_before or n_images)
        self.now = half

    def refused(self, n_images: int, most: int | None) -> None:
        """So many are more than the server ever takes, which is `most` where it says so."""
        self._largest = min(self._largest, max(1, min(most or n_images // 2, n_images - 1)))
        self.now = min(self.now, self._largest)
