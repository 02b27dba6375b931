"""Numbers in sentences."""

from benchmark.words import counted


def test_one_is_not_many():
    assert (counted(1, "pair"), counted(1225, "pair")) == ("1 pair", "1,225 pairs")
