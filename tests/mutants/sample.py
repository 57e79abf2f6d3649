"""Mutations of a module, made by cosmic-ray, and a sample of them that stays the same while other lines change."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import unified_diff
from hashlib import sha256
from pathlib import Path
from warnings import catch_warnings, simplefilter

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

from tests.mutants.equivalent import is_equivalent

NO_BEHAVIOUR = "BitOr_"  # in names of operators: X | None is a type nearly everywhere


@dataclass(frozen=True, slots=True)
class Place:
    """Where an operator of cosmic-ray can change a module."""

    operator: str
    occurrence: int  # in the module
    line: int  # from 1
    column: int
    text: str  # of the line


@dataclass(frozen=True, slots=True)
class Mutation:
    line: int
    before: str  # the line, as it is and as it becomes
    after: str
    source: str  # of the whole module, changed


def sample(path: Path, size: int, seed: int) -> list[Mutation]:
    """So many mutations of a module, each at another place as far as there are places, in order of their lines.

    A mutation's rank is a hash of its own line: whoever changes other lines finds the same sample. Left out are those
    that do not compile and those that are equivalent.
    """
    source = path.read_text("utf-8")

    def rank(place: Place) -> bytes:
        return sha256(f"{seed} {path.name} {place.operator} {place.column} {place.text}".encode()).digest()

    ranked = sorted(places(source), key=rank)
    first = {(place.line, place.column): place for place in reversed(ranked)}.values()
    chosen: list[Mutation] = []
    for place in [*sorted(first, key=rank), *(place for place in ranked if place not in first)]:
        mutation = mutate(source, place)
        if mutation and not is_equivalent(path.stem, mutation.before, mutation.after):
            chosen.append(mutation)
        if len(chosen) == size:
            break
    return sorted(chosen, key=lambda one: one.line)


def places(source: str) -> Iterator[Place]:
    nodes, lines = [*ast_nodes(get_ast(source))], source.splitlines()
    for name in operator_names():
        operator = get_operator(name)
        if NO_BEHAVIOUR in name or operator.arguments():
            continue
        starts = [start for node in nodes for start, _ in operator().mutation_positions(node)]
        for occurrence, (line, column) in enumerate(starts):
            yield Place(name, occurrence, line, column, lines[line - 1])


def mutate(source: str, place: Place) -> Mutation | None:
    """None where the result does not compile without a warning."""
    mutated = mutate_code(source, get_operator(place.operator)(), place.occurrence)
    try:
        with catch_warnings():
            simplefilter("error", SyntaxWarning)
            compile(mutated, "", "exec")
    except SyntaxError:
        return None
    changes = [*unified_diff(source.splitlines(), mutated.splitlines(), n=0)][3:]
    before, after = (next((line[1:].strip() for line in changes if line[0] == sign), "") for sign in "-+")
    return Mutation(place.line, before, after, mutated)
