"""What a transcript may ask a node for: round, epoch, payments, locks and coins."""

from collections.abc import Callable, Iterator

from building import GENESIS_TIME_MS, lock_of
from interaction.names import Names, describe_evidence
from interaction.network import Network
from lockstep.primitives.evidence import decode_evidence
from lockstep.primitives.votes import VoteKind
from lockstep.replica.core import Core


def show_round(core: Core, names: Names) -> Iterator[str]:
    """Where the node stands in the agreement on the next block [T1]."""
    height = core.height.height
    if core.height.driver is None:
        yield f"height {height} not begun"
        return
    state = core.height.driver.state
    locked = names.block(state.locked_value, height)
    valid = names.block(state.valid_value, height)
    step = state.phase.name.lower()
    lock = "no lock" if state.locked_value is None else f"locked {locked}/{state.locked_round}"
    held = "no valid value" if state.valid_value is None else f"valid {valid}/{state.valid_round}"
    yield f"{height}/{state.round} {step}, {lock}, {held}"


def show_tip(core: Core, names: Names) -> Iterator[str]:
    """The last decided block and its time, in ms after genesis [T3]."""
    state = core.state
    block = names.block(state.block_id, state.height) if state.height else "genesis"
    yield f"stands on {block}, of {state.time_ms - GENESIS_TIME_MS} ms"


def show_epoch(core: Core, names: Names) -> Iterator[str]:
    """The epoch, whether the node has frozen, and whose FREEZEs it can use [T5, T6]."""
    frozen = "frozen" if core.finality.frozen else "not frozen"
    usable = len(core.height.usable)
    yield f"epoch {core.state.epoch}, {frozen}, holds {usable} usable FREEZEs"


def show_payments(core: Core, names: Names) -> Iterator[str]:
    """Each payment that is held and not in the chain, with the weights behind it."""
    rows: list[str] = []
    for entry in core.pool:
        home = core.finality.home_of(entry.verified.txid)
        if home is None:
            continue
        tally, position = home
        votes, confirms = (tally.weight_at(kind, position) for kind in VoteKind)
        own = "voted" if tally.own_voted >> position & 1 else entry.waiting or "not voted"
        if tally.own_confirmed >> position & 1:
            own = "confirmed"
        name = names.payment(entry.verified.txid)
        rows.append(f"{name}: {own}, votes {votes}, confirms {confirms}")
    yield from sorted(rows) or ["no payments"]


def show_locks(core: Core, names: Names) -> Iterator[str]:
    """For which payment each coin is locked in this epoch [F1]."""
    locks = core.finality._locks
    rows = [f"{names.coin(coin)} for {names.payment(txid)}" for coin, txid in locks.items()]
    yield "locks " + (", ".join(sorted(rows)) or "nothing")


QUESTIONS: dict[str, Callable[[Core, Names], Iterator[str]]] = {
    "round": show_round,
    "tip": show_tip,
    "epoch": show_epoch,
    "payments": show_payments,
    "locks": show_locks,
}


def ask_coin(network: Network, names: Names, index: int) -> Iterator[tuple[int, str]]:
    """The state of a genesis coin at each node."""
    for node in network.up():
        assert node.replica is not None
        answer = node.replica.view.coin(network.coin(index))
        assert answer is not None
        spender = "" if answer.spender is None else names.payment(answer.spender)
        yield node.index, f"{answer.state} {spender}".rstrip()


def ask_paid(network: Network) -> Iterator[tuple[int, str]]:
    """What the coins that pay each member amount to, in the chain of the first node [N3]."""
    coins = network.up()[0].disk.coins.values()
    for node in network.nodes:
        lock = lock_of(3000 + node.index)
        yield node.index, f"paid {sum(coin.amount for coin in coins if coin.lock == lock)}"


def ask_evidence(network: Network) -> Iterator[tuple[int, str]]:
    """What each node has in its chain against whom, and what still waits for a block [N4]."""
    for node in network.up():
        rows = [
            (f"in block {decided.block.header.height}", decode_evidence(piece))
            for decided in node.disk.blocks
            for piece in decided.block.evidence
        ]
        rows += [("waiting", evidence) for evidence in node.core.evidence.values()]
        for where, evidence in rows:
            member = network.ids.index(evidence.member)
            yield node.index, f"{where}: against {member}, {describe_evidence(evidence)}"
        if not rows:
            yield node.index, "no evidence"
