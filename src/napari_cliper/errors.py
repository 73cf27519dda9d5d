"""The one error a user's mistake may raise."""


class NapariCliperError(Exception):
    """A request that cannot be carried out; the message is one sentence that says what to do."""
