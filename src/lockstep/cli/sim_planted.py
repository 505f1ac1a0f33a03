"""`lockstep sim --planted`: whether the checkers see the bugs that are planted to be seen."""

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

from lockstep.cli.checkout import import_from_tests


def run_planted(*, jobs: int, say: Callable[[str], None]) -> tuple[dict[str, Any], list[str], bool]:
    """Hunt every bug of the register, and the canary; return content, lines and whether it passes.

    Raises:
        WrongUsage: If this is no checkout of the repository.
    """
    bugs = import_from_tests("planted.bugs")
    names = [bug.name for bug in bugs.BUGS]
    catches: dict[str, Any] = {}
    for name, catch in _hunt_all([bugs.CANARY.name, *names], jobs=jobs):
        catches[name] = catch
        where = f"seed {catch.seed}" if catch.seed is not None else catch.test or "nowhere"
        say(f"{len(catches)} of {len(names) + 1}: {name}: {where}")
    canary = catches[bugs.CANARY.name]
    missed = [name for name in names if not catches[name].caught]
    content = {
        "planted": [catches[name] for name in names],
        "count": len(names),
        "missed": missed,
        "canary": {"reported_as_failing": canary.caught, "sentence": canary.sentence},
    }
    lines = [_describe(catches[name]) for name in names]
    lines.append(f"{len(names) - len(missed)} of {len(names)} planted bugs were caught")
    lines.append(
        "the canary was reported as failing"
        if canary.caught
        else "the canary was NOT reported: believe nothing above"
    )
    return content, lines, canary.caught and not missed


def _describe(catch: Any) -> str:
    if not catch.caught:
        return f"MISSED {catch.name}: {catch.sentence}"
    where = catch.test if catch.seed is None else f"seed {catch.seed}"
    return f"caught {catch.name}: {where}: {catch.sentence}"


def _hunt_all(names: Sequence[str], *, jobs: int) -> Any:
    pool = ProcessPoolExecutor(jobs, mp_context=get_context("spawn"))
    try:
        waiting = {pool.submit(_hunt, name): name for name in names}
        for future in as_completed(waiting):
            yield waiting[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _hunt(name: str) -> Any:
    return import_from_tests("planted.hunt").hunt(name)
