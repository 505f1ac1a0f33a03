"""The words of a transcript: what is done to a small network, and what is then heard of it.

A line that begins with `> ` is done; the lines below it are what came of it: the virtual time in
ms, the nodes, and what they did or told their people. Equal texts of one moment stand in one line.
Lists are joined by commas: `to=1,2`. A round is named HEIGHT/ROUND, a block that a node made 2a or
2b, a batch by its payments.

The network
    > network WEIGHTS [closing=K] [puppets=NODES] [asking]
                              start real nodes; puppets say only what the script says for them; with
                              `asking` what a node asks on its start [D3] travels like any message
    > limit NAME N            make a limit small: voted-bytes, unknown-entries
    > proposers HEIGHT        who proposes in rounds 0 to 3
    > listen KINDS [at=NODES] hear more than notices: rounds, payments, requests, repeats,
                              questions, evidence

Payments
    > pay NAME coin=I,J [fee=N]
                              make a payment that spends genesis coins
    > pay NAME from=NAME,...  make one that spends the first outputs of others
    > batch NAME PAYMENTS [spoilt=PAYMENTS]
                              make a batch that nobody has yet; spoilt copies have a bad witness
    > submit NODE PAYMENTS    give payments to a node, as its own people do

Time, links and lives
    > run MS | until HEIGHT   let time pass
    > fire NODE KIND H/R      let a time-out end: propose, prevote, precommit
    > lose SHAPE [from=] [to=]  lose messages from now on: batch, vote, confirm, freeze, proposal,
                              prevote, precommit, status, request, page, evidence, question,
                              answer, all
    > hold SHAPE [from=] [to=]  keep them back
    > release [backwards] [twice]
                              send on what was kept, and lose and keep no more
    > reconnect               break every connection and make it anew
    > crash NODE [before=WORD] [after=WORD]
                              now, or around the next record: batch, vote, confirm, final, block,
                              proposal, prevote, precommit, decision, freeze, evidence
    > start NODE              start a node again from its disk
    > backup NODE | restore NODE | wipe NODE
                              copy a disk, put the copy back, leave nothing but the key

Words of puppets, which arrive at once
    > block NAME by=NODE [over=NODE] [pays=PAYMENTS] [j=NODES] [wrong=time|commitment]
                              make a block over a node's chain, with the FREEZEs of j if it closes
    > say NODES [to=NODES] WORD
        vote PAYMENTS [epoch=] [in=BATCH] [bitmap=HEX] | confirm ...
        freeze [PAYMENTS] [epoch=]
        freeze PAYMENTS of=NODE   an empty FREEZE of another, with a false list beside it
        propose BLOCK at=H/R [valid=R polc=NODES] | prevote BLOCK|nil at=H/R | precommit ...
        knows nothing of=NODE     the answer to what a node asks on its start
        batch BATCH|garbage | status HEIGHT [epoch=] | decided BLOCK by=NODES

Questions
    > coin I                  the state of a genesis coin
    > show NODES round|tip|epoch|payments|locks
    > paid                    what the coinbases paid to each member so far
    > evidence                what each node has against whom, in its chain or waiting
"""

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import combinations
from unittest.mock import patch

from building import RICH
from interaction.forging import Forger
from interaction.listening import KINDS, Listener
from interaction.names import Names
from interaction.network import Network, Pattern
from interaction.questions import QUESTIONS, ask_coin, ask_evidence, ask_paid
from lockstep.primitives.ids import make_outpoint
from lockstep.replica.events import Timer, TimerFired, TimerKind
from unit.replica.cluster import FEE, txid_of

LIMITS = {
    "voted-bytes": "lockstep.replica.locking.VOTED_BYTES_MAX",
    "unknown-entries": "lockstep.consensus.finality.UNKNOWN_ENTRIES_MAX",
}


class Script:
    """Runs the commands of one transcript."""

    def __init__(self) -> None:
        self._limits = ExitStack()
        self._build((1, 1, 1, 1))

    def play(self, text: str) -> str:
        """Return the transcript as it is now: comments and commands as given, answers anew."""
        lines: list[str] = []
        with self._limits:
            for line in text.splitlines():
                if line.startswith("> "):
                    lines.append(line)
                    self._do(line[2:].split())
                    lines.extend(self._heard.take())
                elif line.startswith("#") or not line:
                    lines.append(line)
        return "\n".join(lines) + "\n"

    def _build(
        self,
        weights: tuple[int, ...],
        *,
        closing_every: int = 4,
        puppets: Sequence[int] = (),
        asking: bool = False,
    ) -> None:
        self._network = Network(
            weights, closing_every=closing_every, puppets=list(puppets), asking=asking
        )
        self._names = Names(self._network.genesis)
        self._heard = Listener(self._network, self._names)
        self._forger = Forger(self._network, self._names)

    def _do(self, words: list[str]) -> None:
        options = dict(word.split("=", 1) for word in words if "=" in word)
        plain = [word for word in words if "=" not in word]
        known = (
            self._do_network,
            self._do_payment,
            self._do_time,
            self._do_word,
            self._do_question,
        )
        if not any(do(plain, options) for do in known):
            raise AssertionError(f"no such command: {' '.join(words)}")

    def _do_network(self, words: list[str], options: dict[str, str]) -> bool:
        match words:
            case ["network", weights, *how]:
                self._build(
                    tuple(map(int, weights.split(","))),
                    closing_every=int(options.get("closing", "4")),
                    puppets=numbers(options.get("puppets", "")) or [],
                    asking="asking" in how,
                )
            case ["limit", name, value]:
                self._limits.enter_context(patch(LIMITS[name], int(value)))
            case ["proposers", height]:
                for round_number in range(4):
                    node = self._network.proposer_of(int(height), round_number)
                    self._heard.write(node, f"proposes in {height}/{round_number}", timed=False)
            case ["listen", *kinds]:
                assert not [kind for kind in kinds if kind not in KINDS]
                self._heard.kinds = kinds
                self._heard.nodes = numbers(options.get("at", "")) or []
            case _:
                return False
        return True

    def _do_payment(self, words: list[str], options: dict[str, str]) -> bool:
        match words:
            case ["pay", name]:
                self._pay(name, options)
            case ["batch", name, *payments]:
                spoilt = options.get("spoilt", "").split(",")
                self._forger.batch(name, payments, spoilt=spoilt)
            case ["submit", node, *payments]:
                held = [self._names.payments[name] for name in payments]
                self._names.add_batch("+".join(payments), self._network.batch(*held))
                self._network.submit(int(node), *held)
            case _:
                return False
        return True

    def _do_time(self, words: list[str], options: dict[str, str]) -> bool:
        network = self._network
        match words:
            case ["run", duration_ms]:
                network.run(int(duration_ms))
            case ["until", height]:
                network.run_to_height(int(height))
            case ["fire", node, kind, place]:
                timer = Timer(TimerKind[kind.upper()], *map(int, place.split("/")))
                network.step(int(node), TimerFired(timer))
            case ["lose", shape]:
                network.lose(pattern(shape, options))
            case ["hold", shape]:
                network.hold(pattern(shape, options))
            case ["release", *how]:
                network.release(backwards="backwards" in how, twice="twice" in how)
            case ["reconnect"]:
                for one, other in combinations(network.up(), 2):
                    network.reconnect(one.index, other.index)
            case ["crash", node] if options:
                ((when, word),) = options.items()
                network.crash_at(int(node), when=when, word=word)
            case ["crash", node]:
                network.crash(int(node))
            case ["start", node]:
                network.start(int(node))
            case ["backup", node]:
                network.back_up(int(node))
            case ["restore", node]:
                network.restore(int(node))
            case ["wipe", node]:
                network.wipe(int(node))
            case _:
                return False
        return True

    def _do_word(self, words: list[str], options: dict[str, str]) -> bool:
        match words:
            case ["block", name]:
                first = self._network.up()[0].index
                self._forger.block(
                    name,
                    by=int(options["by"]),
                    over=int(options.get("over", first)),
                    payments=[one for one in options.get("pays", "").split(",") if one],
                    j=numbers(options.get("j", "")) or [],
                    wrong=options.get("wrong", ""),
                )
            case ["say", speakers, *word]:
                listeners = numbers(options.get("to", ""))
                for speaker in numbers(speakers) or []:
                    message = self._forger.word(speaker, word, options)
                    for node in self._network.up():
                        if listeners is None or node.index in listeners:
                            self._network.say(speaker, node.index, message)
            case _:
                return False
        return True

    def _do_question(self, words: list[str], _: dict[str, str]) -> bool:
        match words:
            case ["coin", index]:
                answers = ask_coin(self._network, self._names, int(index))
            case ["show", nodes, what]:
                answers = (
                    (index, text)
                    for index in numbers(nodes) or []
                    for text in QUESTIONS[what](self._network.nodes[index].core, self._names)
                )
            case ["paid"]:
                answers = ask_paid(self._network)
            case ["evidence"]:
                answers = ask_evidence(self._network)
            case _:
                return False
        for node, text in answers:
            self._heard.write(node, text, timed=False)
        return True

    def _pay(self, name: str, options: dict[str, str]) -> None:
        """Spend coins with all they hold; the memo makes rivals differ."""
        coins = numbers(options.get("coin", "")) or []
        inputs = [(self._network.coin(index), RICH, index) for index in coins]
        for parent in (one for one in options.get("from", "").split(",") if one):
            made = self._names.payments[parent]
            inputs.append((make_outpoint(txid_of(made), 0), made.body.outputs[0].amount, 0))
        fee = int(options.get("fee", FEE))
        self._names.add_payment(name, self._network.pay(*inputs, fee=fee, memo=name.encode()))


def numbers(text: str) -> list[int] | None:
    """Return the numbers of a list, or None where it is empty."""
    return [int(number) for number in text.split(",")] if text else None


def pattern(shape: str, options: dict[str, str]) -> Pattern:
    """Return which messages a command about a link means."""
    return Pattern(shape, numbers(options.get("from", "")), numbers(options.get("to", "")))
