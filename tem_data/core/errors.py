"""The one error a user sees."""


class TemDataError(Exception):
    """Something is wrong with a file, a setting or a request.

    The message names the file (and its row or field), says what was expected
    and what to do about it.
    """
