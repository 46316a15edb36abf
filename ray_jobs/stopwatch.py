"""How long a worker was busy with something, in pieces."""

import time


class Stopwatch:
    """Adds up time between starts and stops; stands still at first."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._total_ms = 0.0

    def start(self) -> None:
        """Counts from now on."""
        self._since = time.perf_counter()

    def stop(self) -> None:
        """Counts no longer; nothing where it did not."""
        if self._since is not None:
            self._total_ms += (time.perf_counter() - self._since) * 1000
            self._since = None

    def take_ms(self) -> float:
        """What was counted since it was last asked for, in milliseconds."""
        taken, self._total_ms = self._total_ms, 0.0
        return taken
