"""Breadth first over all states of a model, so that what is found is found by the shortest way."""

import time
from collections.abc import Callable

from msgspec import Struct

from lockstep.errors import Misuse
from lockstep.sim.exhaustive.configurations import Configuration
from lockstep.sim.exhaustive.scenario import BYZANTINE, HONEST
from lockstep.sim.exhaustive.space import Move, Space, State

Finding = tuple[State, Move, str]
"""A state, the move from it that broke a promise, and which."""


class Result(Struct, frozen=True):
    """What the search of one configuration found.

    Attributes:
        states, transitions: Of the whole model, up to symmetry.
        depth: Steps of the longest shortest way.
        node_states, node_steps: States of single nodes, and steps of the real core it took.
        is_complete: Whether the bound on the depth cut nothing off.
        violation: The promise that was broken, or nothing; `trace` is the shortest way to it.
    """

    name: str
    seconds: float
    states: int
    transitions: int
    depth: int
    node_states: int
    node_steps: int
    is_complete: bool
    violation: str = ""
    trace: tuple[str, ...] = ()


def explore(
    configuration: Configuration,
    *,
    states_max: int = 0,
    is_watched: bool = True,
    say: Callable[[str], None] | None = None,
) -> Result:
    """Visit every state of a configuration, or all up to the first that breaks a promise.

    `states_max` bounds the states, 0 does not. Without `is_watched` nodes may contradict
    themselves, and only what comes of it counts.
    """
    started = time.monotonic()
    space = Space(configuration, is_watched=is_watched)
    seen = {space.first}
    levels: list[list[State]] = [[space.first]]
    finding: Finding | None = None
    while levels[-1] and finding is None:
        if configuration.depth and len(levels) > configuration.depth:
            break
        if states_max and len(seen) >= states_max:
            break
        following, finding = _advance(space, levels[-1], seen)
        levels.append(following)
        if say is not None:
            say(f"{configuration.name}: depth {len(levels) - 1}, {len(seen)} states")
    machines = {id(machine): machine for machine in space.machines}.values()
    return Result(
        name=configuration.name,
        seconds=round(time.monotonic() - started, 2),
        states=len(seen),
        transitions=space.transitions,
        depth=sum(1 for level in levels if level) - 1,
        node_states=sum(len(machine.facts) for machine in machines),
        node_steps=sum(machine.steps for machine in machines),
        is_complete=not levels[-1],
        violation="" if finding is None else finding[2],
        trace=() if finding is None else _trace(space, levels, *finding[:2]),
    )


def _advance(
    space: Space, level: list[State], seen: set[State]
) -> tuple[list[State], Finding | None]:
    """Return the states one step further that were not seen yet, and the first broken promise."""
    following: list[State] = []
    for state in level:
        for move in space.moves(state):
            after = move.after
            if after is None:
                return following, (state, move, move.fault)
            if after in seen:
                continue
            seen.add(after)
            following.append(after)
            violation = space.judge(after)
            if violation:
                return following, (state, move, violation)
    return following, None


def _trace(space: Space, levels: list[list[State]], last: State, move: Move) -> tuple[str, ...]:
    """Return the steps from the start to `last` and its move, found backwards level by level."""
    path = [move]
    goal = last
    # Above the last level stands what was found when the promise broke; `last` is in the one below.
    for level in reversed(levels[:-2]):
        steps = (step for state in level for step in space.moves(state) if step.after == goal)
        step = next(steps, None)
        if step is None:
            raise Misuse("a state was reached from nowhere")
        path.append(step)
        goal = next(state for state in level if any(m.after == goal for m in space.moves(state)))
    lines: list[str] = []
    # Who stands at which place of a state: states that differ by turning the table are one.
    who = list(range(HONEST))
    for place, step in enumerate(reversed(path), 1):
        lines.append(f"{place}. {_describe(space, step, who)}")
        if step.after is not None:
            turns = [[*who[turn:], *who[:turn]] for turn in range(HONEST)]
            nodes = [[*step.nodes[turn:], *step.nodes[:turn]] for turn in range(HONEST)]
            who = turns[nodes.index([*step.after[1:]])]
    return tuple(lines)


def _describe(space: Space, move: Move, who: list[int]) -> str:
    """Return a move in words; `who` stands at each place."""
    if move.place is None:
        if move.after is None:
            return "an honest proposer makes its block"
        names = " and ".join(str(name) for name in move.act) or "nothing"
        return f"a block of {names} is decided"
    node = f"node {who[move.place] + 1}"
    kind, *rest = move.act
    cut = ", and crashes at once" if "crash" in rest else ""
    match kind:
        case "body":
            return f"{node} gets payment {rest[0]}{cut}"
        case "block":
            return f"{node} learns the decided block{cut}"
        case "crash":
            return f"{node} crashes and comes back"
        case _:
            people = {BYZANTINE: "the Byzantine member"}
            for place in range(HONEST):
                people[space.table.seat(move.place, place)] = f"node {who[place] + 1}"
            pairs = rest[0] if isinstance(rest[0], tuple) else ()
            heard = "; ".join(f"{space.lexicon.words[n]} by {people[s]}" for s, n in pairs)
            return f"{node} hears {heard}{cut}"
