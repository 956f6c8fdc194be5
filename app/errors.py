"""What a person can mend: the command line prints such an error without a traceback and exits 2."""


class UserError(Exception):
    """Something that was given is wrong, or cannot be done here. The message says what to do, and what has not been touched."""
