"""The one way to tell users that their input, not our code, is at fault."""


class BadInput(Exception):
    """One sentence: the file, row or flag, what is wrong with it, and what to do. The CLI exits with 2."""


def one_line(sentence: str) -> str:
    """A sentence fit for a terminal, whatever it quotes: names may hold line breaks and terminal codes."""
    return "".join(c if c.isprintable() else " " for c in sentence)
