"""`lockstep sim --exhaustive`: every state of small models, and every rule taken out in turn."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any, Final

from lockstep.cli.checkout import import_from_tests
from lockstep.sim.exhaustive.configurations import (
    CONFIGURATIONS,
    LONG_CONFIGURATIONS,
    Configuration,
)
from lockstep.sim.exhaustive.search import Result, explore

MUTANTS: Final = "planted.mutants"


def run_exhaustive(
    *, jobs: int, say: Callable[[str], None], is_long: bool = False
) -> tuple[dict[str, Any], list[str], bool]:
    """Explore every configuration, and for every mutant the one that must catch it.

    With `is_long` the larger configurations are explored too.

    Returns:
        The content for programs, the lines for people, and whether no promise was broken and every
        mutant was caught.

    Raises:
        WrongUsage: If this is no checkout of the repository.
    """
    mutants = import_from_tests(MUTANTS).MUTANTS
    configurations = [*CONFIGURATIONS, *(LONG_CONFIGURATIONS if is_long else ())]
    started = time.monotonic()
    results: dict[str, Result] = {}
    catches: dict[str, Result] = {}
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        # The longest first, so that no core waits for one of them at the end.
        waiting = _submit(pool, configurations, [mutant.name for mutant in mutants])
        for future in as_completed(waiting):
            kind, name = waiting[future]
            result = future.result()
            (results if kind is Configuration else catches)[name] = result
            say(f"{len(results) + len(catches)} of {len(waiting)}: {_progress(name, result)}")
    content = _summarise(configurations, results, mutants, catches)
    content["seconds"] = round(time.monotonic() - started, 2)
    is_good = not content["violations"] and not content["missed"]
    return content, _format_lines(content, results), is_good


def explore_mutant(name: str) -> Result:
    """Explore the configuration that must catch a mutant, with the rule taken out."""
    module = import_from_tests(MUTANTS)
    mutant = next(mutant for mutant in module.MUTANTS if mutant.name == name)
    configuration = _find(mutant.configuration)
    with import_from_tests("planted.patching").planted(mutant.take_out):
        return explore(configuration, is_watched=mutant.is_watched)


def _submit(
    pool: Executor, configurations: Sequence[Configuration], mutants: Sequence[str]
) -> dict[Future[Result], tuple[type, str]]:
    ordered = sorted(configurations, key=lambda c: -len(c.payments) * (1 + c.heights))
    waiting: dict[Future[Result], tuple[type, str]] = {
        pool.submit(explore, configuration): (Configuration, configuration.name)
        for configuration in ordered
    }
    waiting.update({pool.submit(explore_mutant, name): (str, name) for name in mutants})
    return waiting


def _find(name: str) -> Configuration:
    return next(c for c in (*CONFIGURATIONS, *LONG_CONFIGURATIONS) if c.name == name)


def _progress(name: str, result: Result) -> str:
    verdict = result.violation or "every promise held"
    return f"{name}: {result.states} states in {result.seconds} s: {verdict}"


def _summarise(
    configurations: Sequence[Configuration],
    results: dict[str, Result],
    mutants: Sequence[Any],
    catches: dict[str, Result],
) -> dict[str, Any]:
    explored = []
    for configuration in configurations:
        result = results[configuration.name]
        explored.append(
            {
                "name": configuration.name,
                "sentence": configuration.sentence,
                "bound": configuration.bound,
                "states": result.states,
                "transitions": result.transitions,
                "depth": result.depth,
                "complete": result.is_complete,
                "node_states": result.node_states,
                "node_steps": result.node_steps,
                "seconds": result.seconds,
                "violation": result.violation,
                "trace": list(result.trace),
            }
        )
    caught = []
    for mutant in mutants:
        catch = catches[mutant.name]
        caught.append(
            {
                "name": mutant.name,
                "rule": mutant.sentence,
                "caught": catch.violation.startswith(mutant.by),
                "configuration": mutant.configuration,
                "by": catch.violation,
                "states": catch.states,
                "trace": list(catch.trace),
            }
        )
    return {
        "configurations": explored,
        "states": sum(row["states"] for row in explored),
        "transitions": sum(row["transitions"] for row in explored),
        "violations": sum(bool(row["violation"]) for row in explored),
        "mutants": caught,
        "missed": [row["name"] for row in caught if not row["caught"]],
    }


def _format_lines(content: dict[str, Any], results: dict[str, Result]) -> list[str]:
    lines: list[str] = []
    for row in content["configurations"]:
        reach = "all" if row["complete"] else f"all within {row['depth']} steps"
        lines.append(f"{row['name']}: {reach} {row['states']} states: {row['sentence']}")
        if row["violation"]:
            lines.append(f"  BROKEN {row['violation']}")
            lines.extend(f"  {step}" for step in results[row["name"]].trace)
    for row in content["mutants"]:
        if row["caught"]:
            lines.append(f"caught {row['name']}: {row['configuration']}: {row['by']}")
        else:
            lines.append(
                f"MISSED {row['name']}: {row['configuration']} holds without: {row['rule']}"
            )
    caught = len(content["mutants"]) - len(content["missed"])
    lines.append(
        f"{content['states']} states, {content['transitions']} steps, {content['violations']} "
        f"broken; {caught} of {len(content['mutants'])} removed rules were caught"
    )
    return lines
