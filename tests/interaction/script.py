"""The words of a transcript: what is done to a small network, and what its people then see.

A line that begins with `> ` is done; the lines below it are what the nodes told their people
meanwhile, with the virtual time in ms and the number of the node. Payments have names.

    > network WEIGHTS closing=K     start a network, its weights joined by commas
    > pay NAME coin=I [rival]       make a payment that spends genesis coin I
    > pay NAME from=NAME            make one that spends the output of another
    > submit NODE NAME...           give payments to a node as one batch
    > run MS | until HEIGHT         let time pass
    > lose SHAPE [from=I] [to=I]    lose messages of this shape (Vote, Confirm, Freeze, Ballot,
                                    ProposalMessage, BatchBody ...) from now on
    > heal                          lose no more, and connect everybody anew
    > crash NODE | start NODE       kill a node, start it again from its disk
    > coin I                        ask every node for the state of a genesis coin
"""

from collections.abc import Iterator
from itertools import combinations

from lockstep.primitives.messages import Message
from lockstep.primitives.transaction import Transaction
from lockstep.primitives.votes import Vote, VoteKind
from lockstep.replica.effects import (
    Alarm,
    BlockAdded,
    Notice,
    TransactionsAccepted,
    TransactionsDropped,
    TransactionsFinal,
    TransactionsRefused,
)
from unit.replica.cluster import Cluster, txid_of
from unit.replica.gates import Gate


class Script:
    """Runs the commands of one transcript."""

    def __init__(self) -> None:
        self._cluster = Cluster()
        self._payments: dict[str, Transaction] = {}
        self._names: dict[bytes, str] = {}
        self._heard: list[str] = []

    def play(self, text: str) -> str:
        """Return the transcript as it is now: comments and commands as given, answers anew."""
        lines: list[str] = []
        for line in text.splitlines():
            if line.startswith("> "):
                lines.append(line)
                lines.extend(self._do(line[2:].split()))
            elif line.startswith("#") or not line:
                lines.append(line)
        return "\n".join(lines) + "\n"

    def _do(self, words: list[str]) -> Iterator[str]:
        options = dict(word.split("=") for word in words if "=" in word)
        plain = [word for word in words if "=" not in word]
        match plain:
            case ["network", weights]:
                every = int(options.get("closing", "4"))
                shares = tuple(map(int, weights.split(",")))
                self._cluster = Cluster(shares, closing_every=every, delay_max_ms=1)
                self._listen()
            case ["pay", name, *rest]:
                self._pay(name, options, memo=b"rival" if rest else b"")
            case ["submit", node, *names]:
                self._cluster.submit(int(node), *(self._payments[name] for name in names))
            case ["run", duration_ms]:
                self._cluster.run(int(duration_ms))
            case ["until", height]:
                self._cluster.run_to_height(int(height))
            case ["lose", shape]:
                self._cluster.gates.append(_losing(shape, options))
            case ["heal"]:
                self._heal()
            case ["crash", node]:
                self._cluster.crash(int(node))
            case ["start", node]:
                self._cluster.start(int(node))
            case ["coin", index]:
                yield from self._coin_states(int(index))
            case _:
                raise AssertionError(f"no such command: {' '.join(words)}")
        yield from self._heard
        self._heard = []

    def _listen(self) -> None:
        """Write down each notice with the time it came."""
        self._cluster.on_notice = lambda node, notice: self._heard.extend(
            f"{self._cluster.now:6} {node.index} {said}" for said in self._describe(notice)
        )

    def _pay(self, name: str, options: dict[str, str], *, memo: bytes) -> None:
        if "from" in options:
            payment = self._cluster.child_of(self._payments[options["from"]])
        else:
            payment = self._cluster.pay_coin(int(options["coin"]), memo=memo)
        self._payments[name] = payment
        self._names[txid_of(payment)] = name

    def _heal(self) -> None:
        self._cluster.gates.clear()
        for one, other in combinations(self._cluster.up(), 2):
            self._cluster.reconnect(one.index, other.index)

    def _coin_states(self, index: int) -> Iterator[str]:
        for node in self._cluster.up():
            assert node.replica is not None
            answer = node.replica.view.coin(self._cluster.coin(index))
            assert answer is not None
            spender = self._names.get(answer.spender or b"", "")
            yield f"       {node.index} {answer.state} {spender}".rstrip()

    def _describe(self, notice: Notice) -> Iterator[str]:
        match notice:
            case TransactionsAccepted(txids=txids):
                yield f"accepted {self._list(txids)}"
            case TransactionsRefused(refusals=refusals):
                yield from (f"refused {self._names[txid]}: {code}" for txid, code, _ in refusals)
            case TransactionsFinal(txids=txids, weight=weight):
                yield f"final {self._list(txids)} by weight {weight}"
            case TransactionsDropped(txids=txids, code=code):
                yield f"dropped {self._list(txids)}: {code}"
            case BlockAdded(height=height, closing=closing, txids=txids):
                kind = "closing block" if closing else "block"
                yield f"{kind} {height} {self._list(txids)}".rstrip()
            case Alarm(code=code):
                yield f"ALARM {code}"

    def _list(self, txids: tuple[bytes, ...]) -> str:
        return " ".join(sorted(self._names[txid] for txid in txids if txid in self._names))


def _losing(shape: str, options: dict[str, str]) -> Gate:
    def gate(sender: int, receiver: int, message: Message) -> bool:
        is_confirm = isinstance(message, Vote) and message.kind is VoteKind.CONFIRM
        return (
            ("Confirm" if is_confirm else type(message).__name__) != shape
            or options.get("from", str(sender)) != str(sender)
            or options.get("to", str(receiver)) != str(receiver)
        )

    return gate
