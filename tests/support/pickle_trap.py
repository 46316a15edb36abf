"""A pickle that runs what it names when somebody reads it without care."""


class Runs:
    """Pickled, it is a call: a function and its arguments."""

    def __init__(self, *call: object) -> None:
        self.call = call

    def __reduce__(self):
        return self.call[0], self.call[1:]
