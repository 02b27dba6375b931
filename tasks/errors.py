"""The one way to tell users that their input, not our code, is at fault."""


class BadInput(Exception):
    """One sentence: the file, row or flag, what is wrong with it, and what to do. The CLI exits with 2."""
