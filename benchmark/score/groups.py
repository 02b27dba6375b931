"""Which of several methods cannot be told apart: groups, and the letters that stand for them.

Not being told apart is not transitive: A and B may be alike, B and C too, and yet A and C differ. So methods have no
ranks but groups, each a largest set of methods of which no two were told apart (a maximal clique). Groups are lettered
from the best method on, and a method bears the letters of all of its groups: two methods that share a letter were not
told apart (compact letter display; Piepho, Journal of Computational and Graphical Statistics 2004).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from string import ascii_lowercase

import networkx


def groups_of(names: Sequence[str], alike: Iterable[tuple[str, str]], most: int | None = None) -> list[tuple[str, ...]]:
    """Largest sets of names of which all pairs are in `alike`; all in the order of `names`, the best first.

    Their number can grow exponentially with the names: of more than `most` none is listed.
    """
    place = {name: number for number, name in enumerate(names)}
    graph = networkx.Graph()
    graph.add_nodes_from(names)
    graph.add_edges_from(alike)
    found = list(islice(networkx.find_cliques(graph), None if most is None else most + 1))
    if most is not None and len(found) > most:
        return []
    cliques = (sorted(place[name] for name in clique) for clique in found)
    return [tuple(names[number] for number in clique) for clique in sorted(cliques)]


def letters_of(names: Sequence[str], groups: Sequence[Sequence[str]]) -> dict[str, str]:
    """The letters of each name's groups: "ab" is in the first and in the second. Beyond 26 groups joined by hyphens."""
    between = "" if len(groups) <= len(ascii_lowercase) else "-"
    return {name: between.join(letter(at) for at, group in enumerate(groups) if name in group) for name in names}


def letter(number: int) -> str:
    """The letter of the group of this number, from 0."""
    first, second = divmod(number, len(ascii_lowercase))
    return (ascii_lowercase[first - 1] if first else "") + ascii_lowercase[second]
