"""A member lies; whoever holds both words finds it, all hear of it, the chain has it once [N4].

Node 3 is the liar: its replica is absent and the test speaks with its keys.
"""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import permutations

import pytest
from msgspec.structs import replace

from lockstep.ledger.evidence import is_used
from lockstep.primitives import codec
from lockstep.primitives.block import Ballot, BallotKind
from lockstep.primitives.evidence import (
    ConflictingBallots,
    ConflictingFreezes,
    ConflictingProposals,
    ConflictingVotes,
    Evidence,
    OmittedConfirm,
    Subject,
    decode_evidence,
    evidence_subject,
)
from lockstep.primitives.messages import BatchBody, EvidenceFound, Message, ProposalMessage
from lockstep.primitives.transaction import Batch
from lockstep.primitives.votes import VoteKind
from lockstep.replica.effects import Alarm, EvidenceHeld
from lockstep.replica.events import BatchReceived, PeerConnected
from lockstep.replica.ingress import prepare_batch
from unit.ledger.accusing import Accuser
from unit.replica.cluster import VERIFIER, Cluster, Node
from unit.replica.gates import refuse

LIAR = 3


def with_liar() -> Cluster:
    """Return three honest nodes that are connected to the liar as well."""
    cluster = Cluster(absent=[LIAR])
    for node in cluster.up():
        cluster.step(node.index, PeerConnected(cluster.peers[LIAR]))
    return cluster


def on_chain(node: Node) -> list[Evidence]:
    """All evidence in a node's blocks."""
    return [decode_evidence(row) for d in node.disk.blocks for row in d.block.evidence]


def assert_on_every_chain(cluster: Cluster, kind: type[Evidence], epoch: int = 0) -> None:
    """Within a few heights it is in the chain, once, nobody was blamed else, each alarmed once."""
    subject: Subject = (cluster.ids[LIAR], epoch)
    cluster.run_until(lambda: all(is_used(n.core.state, subject) for n in cluster.up()))
    cluster.run_to_height(max(n.core.state.height for n in cluster.up()) + 3)
    for node in cluster.up():
        found = [e for e in on_chain(node) if evidence_subject(e) == subject]
        assert [type(evidence) for evidence in found] == [kind]
        assert subject not in node.core.evidence
        codes = [n.code for n in node.notices if isinstance(n, Alarm)]
        assert codes == ["consensus.equivocation"]
        assert not [row for row in node.penalties if row[0] != cluster.peers[LIAR]]


def lie_in_votes(cluster: Cluster, kind: VoteKind) -> None:
    rivals = [cluster.pay_coin(0), cluster.pay_coin(0, memo=b"rival")]
    for receiver, payment in zip((0, 1), rivals, strict=True):
        batch = cluster.submit(receiver, payment)
        for other in (0, 1):
            cluster.say(LIAR, other, cluster.vote(LIAR, kind, (batch.batch_id, b"\x01")))


def lie_in_freezes(cluster: Cluster) -> None:
    cluster.run_to_height(3)
    cluster.say(LIAR, 0, cluster.freeze(LIAR))
    cluster.say(LIAR, 0, cluster.freeze(LIAR, txids=[b"\x77" * 32]))


def lie_in_ballots(cluster: Cluster, kind: BallotKind) -> None:
    height = cluster.nodes[0].core.height.height
    cluster.say(LIAR, 0, cluster.ballot(LIAR, kind, height, 0, None))
    cluster.say(LIAR, 0, cluster.ballot(LIAR, kind, height, 0, b"\x07" * 32))


def lie_in_proposals(cluster: Cluster) -> None:
    accuser = Accuser(cluster.genesis)
    heard: list[ProposalMessage] = []

    def listen(sender: int, receiver: int, message: Message) -> bool:
        if isinstance(message, ProposalMessage):
            heard.append(message)
        return True

    cluster.gates.append(listen)
    cluster.run_until(lambda: bool(heard))
    message = heard[-1]
    height, block_id = message.proposal.height, message.proposal.block_id
    for valid_round in (-1, 1):
        word = accuser.word(LIAR, height, 5, block_id, valid_round)
        cluster.say(LIAR, 0, replace(message, proposal=word, polc=()))


def lie_in_a_list(cluster: Cluster, *, confirm_first: bool) -> None:
    """Confirm what a FREEZE then lacks; rivals keep the payment out of the blocks below."""
    rivals = [cluster.pay_coin(0), cluster.pay_coin(0, memo=b"rival")]
    batches = [cluster.batch(payment) for payment in rivals]
    for node, batch in ((0, 0), (1, 0), (2, 1)):
        cluster.step(node, BatchReceived(cluster.peers[LIAR], batches[batch]))
    confirm = cluster.vote(LIAR, VoteKind.CONFIRM, (batches[0].batch_id, b"\x01"))
    if confirm_first:
        cluster.say(LIAR, 0, confirm)
    cluster.run_to_height(3)
    cluster.say(LIAR, 0, cluster.freeze(LIAR))
    if not confirm_first:
        cluster.say(LIAR, 0, confirm)


LIES: dict[str, tuple[Callable[[Cluster], None], type[Evidence]]] = {
    "votes": (partial(lie_in_votes, kind=VoteKind.VOTE), ConflictingVotes),
    "confirms": (partial(lie_in_votes, kind=VoteKind.CONFIRM), ConflictingVotes),
    "freezes": (lie_in_freezes, ConflictingFreezes),
    "prevotes": (partial(lie_in_ballots, kind=BallotKind.PREVOTE), ConflictingBallots),
    "precommits": (partial(lie_in_ballots, kind=BallotKind.PRECOMMIT), ConflictingBallots),
    "proposals": (lie_in_proposals, ConflictingProposals),
    "list, then confirm": (partial(lie_in_a_list, confirm_first=False), OmittedConfirm),
    "confirm, then list": (partial(lie_in_a_list, confirm_first=True), OmittedConfirm),
}


@pytest.mark.parametrize("name", LIES)
def test_each_lie_comes_into_every_chain_once(name: str) -> None:
    """[N4] One node hears both words; all have it in their blocks, and use it up."""
    lie, expected = LIES[name]
    cluster = with_liar()
    cluster.run_to_height(1)
    lie(cluster)
    assert_on_every_chain(cluster, expected)


@pytest.mark.parametrize("order", list(permutations(range(4))), ids=str)
def test_votes_and_batches_in_any_order(order: tuple[int, ...]) -> None:
    """[N4, B3] Votes before their batches, batches late, the first vote last."""
    cluster = with_liar()
    rivals = [cluster.batch(cluster.pay_coin(0)), cluster.batch(cluster.pay_coin(0, memo=b"r"))]
    votes = [cluster.vote(LIAR, VoteKind.VOTE, (batch.batch_id, b"\x01")) for batch in rivals]
    for event in order:
        if event < 2:
            cluster.step(0, BatchReceived(cluster.peers[LIAR], rivals[event]))
        else:
            cluster.say(LIAR, 0, votes[event - 2])
    assert list(cluster.nodes[0].core.evidence) == [(cluster.ids[LIAR], 0)]


def test_rivals_under_other_names() -> None:
    """[N4, B4] One message for both; copies in other batches; a rival of what the chain has."""
    cluster = with_liar()
    one, rival = cluster.pay_coin(0), cluster.pay_coin(0, memo=b"rival")
    first, again = cluster.batch(one), cluster.batch(cluster.pay_coin(5), one, cluster.pay_coin(6))
    late = cluster.batch(cluster.pay_coin(7), rival)
    cluster.step(0, BatchReceived(cluster.peers[LIAR], first))
    cluster.run_until(lambda: cluster.nodes[0].core.overlay.height_of(first.txids[0]) is not None)
    assert cluster.nodes[0].core.state.epoch == 0
    both = cluster.vote(LIAR, VoteKind.VOTE, (late.batch_id, b"\x02"), (again.batch_id, b"\x02"))
    cluster.say(LIAR, 0, both)
    for batch in (late, again):
        cluster.step(0, BatchReceived(cluster.peers[LIAR], batch))
    assert list(cluster.nodes[0].core.evidence) == [(cluster.ids[LIAR], 0)]
    assert_on_every_chain(cluster, ConflictingVotes)


def test_a_vote_for_a_spoilt_copy_is_a_word_too() -> None:
    """[N4, B5] Only a liar votes for one; the body is what two rivals are told by."""
    cluster = with_liar()
    one, rival = cluster.pay_coin(0), cluster.pay_coin(0, memo=b"rival")
    witness = replace(rival.witnesses[0], signatures=(b"\x01" * 64,))
    body = codec.encode(Batch((replace(rival, witnesses=(witness,)),)))
    spoilt = prepare_batch(body, chain_id=cluster.chain_id, verifier=VERIFIER)
    good = cluster.batch(one)
    for batch in (spoilt, good):
        cluster.say(LIAR, 0, cluster.vote(LIAR, VoteKind.VOTE, (batch.batch_id, b"\x01")))
        cluster.say(LIAR, 0, BatchBody(batch.body))
    assert_on_every_chain(cluster, ConflictingVotes)


def test_what_is_no_lie() -> None:
    """[N4] Repeated, regrouped and mixed words, times alone, copies of a FREEZE."""
    cluster = with_liar()
    cluster.run_to_height(1)
    one, rival = cluster.pay_coin(0), cluster.pay_coin(0, memo=b"rival")
    batches = [cluster.batch(one), cluster.batch(cluster.pay_coin(1), one), cluster.batch(rival)]
    for batch in batches:
        cluster.step(0, BatchReceived(cluster.peers[LIAR], batch))
    rows = [(batches[0].batch_id, b"\x01"), (batches[1].batch_id, b"\x03")]
    for words in (rows, rows[::-1], rows[1:]):
        cluster.say(LIAR, 0, cluster.vote(LIAR, VoteKind.VOTE, *words))
    cluster.say(LIAR, 0, cluster.vote(LIAR, VoteKind.CONFIRM, (batches[2].batch_id, b"\x01")))
    height = cluster.nodes[0].core.height.height
    for time_ms in (5, 6):
        word = cluster.ballot(LIAR, BallotKind.PRECOMMIT, height, 0, b"\x07" * 32, time_ms=time_ms)
        cluster.say(LIAR, 0, word)
    cluster.say(LIAR, 0, cluster.ballot(LIAR, BallotKind.PREVOTE, height, 0, b"\x08" * 32))
    cluster.say(LIAR, 0, cluster.ballot(LIAR, BallotKind.PREVOTE, height, 1, None))
    cluster.run_to_height(3)
    freeze = cluster.freeze(LIAR, txids=[batches[2].txids[0]])
    cluster.say(LIAR, 0, freeze)
    cluster.say(
        LIAR, 0, replace(freeze, entries=cluster.vote(LIAR, VoteKind.VOTE, rows[0]).entries)
    )
    cluster.run_to_height(9)
    assert not cluster.watch.alarms
    assert not any(on_chain(node) for node in cluster.up())


@pytest.mark.parametrize("ahead", [-1, 0, 1, 2])
def test_words_of_other_heights_are_held_against_each_other(ahead: int) -> None:
    """[N4] A second word counts even where its height is decided, or not begun."""
    cluster = with_liar()
    cluster.run_to_height(2)
    height = cluster.nodes[0].core.state.height + ahead
    for value in (None, b"\x07" * 32):
        cluster.say(LIAR, 0, cluster.ballot(LIAR, BallotKind.PREVOTE, height, 40, value))
    assert_on_every_chain(cluster, ConflictingBallots, epoch=(height - 1) // 4)


def test_a_ballot_against_a_certificate() -> None:
    """[N4] The word of a precommit in a carried certificate is a word like any."""
    cluster = with_liar()
    cluster.run_to_height(1)
    accused = 1
    honest = cluster.nodes[0].core.tip_certificate
    assert honest is not None
    signed = next(s for s in honest.signatures if s.voter == cluster.ids[accused])
    cluster.run_to_height(2)
    # Somebody with the keys of node 1 precommits nil too; node 2 holds the certificate alone.
    nil = cluster.ballot(accused, BallotKind.PRECOMMIT, 1, honest.round, None)
    cluster.say(LIAR, 2, nil)
    found = cluster.nodes[2].core.evidence[cluster.ids[accused], 0]
    assert isinstance(found, ConflictingBallots)
    assert [found.first.block_id, found.second.signature] == [None, signed.signature]


def flood(cluster: Cluster) -> Iterable[Ballot]:
    height = cluster.nodes[0].core.height.height
    for round_number in range(200, 400):
        yield cluster.ballot(LIAR, BallotKind.PREVOTE, height, round_number, None)


def test_first_words_are_bounded() -> None:
    """[N4] A liar that speaks in every round pushes out its own words, and no more."""
    cluster = with_liar()
    node = cluster.nodes[0]
    for word in flood(cluster):
        cluster.say(LIAR, 0, word)
    kept = node.core.first_words._words[node.core.height.height]
    assert len(kept[cluster.ids[LIAR]]) == 64
    height = node.core.height.height
    cluster.say(LIAR, 0, cluster.ballot(LIAR, BallotKind.PREVOTE, height, 399, b"\x07" * 32))
    assert node.core.evidence
    cluster.run_to_height(12)
    assert len(node.core.first_words._words) <= 5


def hold_evidence(cluster: Cluster) -> None:
    """Let node 0 find a lie while nobody can be told of it and no block is decided."""
    cluster.gates.append(refuse(EvidenceFound))
    cluster.gates.append(refuse(ProposalMessage))
    lie_in_ballots(cluster, BallotKind.PREVOTE)
    cluster.run(100)
    assert list(cluster.nodes[0].core.evidence) == [(cluster.ids[LIAR], 0)]
    assert not cluster.nodes[1].core.evidence


def test_a_restart_keeps_what_was_found() -> None:
    """[N4, D2] It is journalled before anybody is told, and outlasts the epoch."""
    cluster = with_liar()
    cluster.run_to_height(1)
    hold_evidence(cluster)
    before = dict(cluster.nodes[0].core.evidence)
    alarms = len(cluster.watch.alarms)
    cluster.crash(0)
    cluster.start(0)
    assert cluster.nodes[0].core.evidence == before
    assert len(cluster.watch.alarms) == alarms
    cluster.gates.clear()
    cluster.run_to_height(9)
    assert [type(e) for e in on_chain(cluster.nodes[1])] == [ConflictingBallots]
    assert not [row for row in cluster.nodes[0].disk.journal() if isinstance(row, EvidenceHeld)]


def test_whoever_connects_is_told() -> None:
    """[N4, T10] A peer that was not there hears of it when it comes."""
    cluster = with_liar()
    cluster.run_to_height(1)
    hold_evidence(cluster)
    cluster.gates.pop(0)
    cluster.reconnect(0, 1)
    cluster.run(50)
    assert cluster.nodes[1].core.evidence == cluster.nodes[0].core.evidence
    cluster.gates.clear()
    assert_on_every_chain(cluster, ConflictingBallots)


def test_a_follower_by_sync_has_the_same_used_ones() -> None:
    """[N4, T9] A certified block's evidence is applied like the rest of it."""
    cluster = Cluster((1, 1, 1, 1, 1), absent=[LIAR, 4])
    cluster.step(0, PeerConnected(cluster.peers[LIAR]))
    cluster.run(300)
    lie_in_ballots(cluster, BallotKind.PREVOTE)
    cluster.start(4)
    cluster.crash(4)
    cluster.nodes[4].disk = type(cluster.nodes[4].disk)(cluster.genesis)
    cluster.start(4)
    cluster.run_to_height(10)
    used = [node.core.state.evidence_used for node in cluster.up()]
    assert used == [((0, cluster.ids[LIAR]),)] * 4


def test_garbage_is_its_senders_fault_and_lateness_nobodys() -> None:
    """[N4] What proves nothing by itself is blamed; what is used or expired is passed over."""
    cluster = with_liar()
    accuser = Accuser(cluster.genesis)
    cluster.run_to_height(1)
    node = cluster.nodes[0]
    good = accuser.freezes(LIAR)
    garbage: dict[str, Evidence] = {
        "message.signature": replace(good, member=cluster.ids[1]),
        "evidence.order": replace(good, first=good.second, second=good.first),
        "evidence.stranger": replace(good, member=b"\x01" * 32),
        "evidence.epoch": replace(accuser.ballots(1), epoch=1),
    }
    for piece in garbage.values():
        cluster.say(LIAR, 0, EvidenceFound(piece))
    assert node.penalties == [(cluster.peers[LIAR], code) for code in garbage]
    assert not node.core.evidence
    cluster.say(LIAR, 0, EvidenceFound(good))
    assert list(node.core.evidence.values()) == [good]
    assert_on_every_chain_quietly(cluster)
    node.penalties.clear()
    for late in (good, accuser.ballots(LIAR), accuser.freezes(LIAR, epoch=90)):
        assert not cluster.say(LIAR, 0, EvidenceFound(late))
    assert not node.penalties
    assert not node.core.evidence


def assert_on_every_chain_quietly(cluster: Cluster) -> None:
    cluster.run_until(lambda: all(n.core.state.evidence_used for n in cluster.up()))


@pytest.mark.parametrize("count", [1, 10, 200])
def test_exactly_the_valid_ones_come_into_the_chain_once_each(count: int) -> None:
    """[N4] Of so many pieces every fourth is false; those of 40 members over five epochs."""
    cluster = Cluster((100,) * 4 + (1,) * 40, closing_every=2, absent=range(4, 44))
    accuser = Accuser(cluster.genesis)
    cluster.run_to_height(10)
    valid: dict[Subject, Evidence] = {}
    for place in range(count):
        index, epoch = 4 + place % 40, place // 40
        kinds = accuser.all_kinds(index, epoch)[:-1]
        piece = kinds[place % len(kinds)]
        if place % 4 == 3:
            piece = replace(piece, member=cluster.ids[5 if index == 4 else 4])
        else:
            valid[evidence_subject(piece)] = piece
        cluster.say(1 + place % 3, place % 4, EvidenceFound(piece))
        cluster.say(place % 3, 3, EvidenceFound(piece))
    assert sum(len(node.penalties) for node in cluster.nodes) == 2 * (count // 4)
    cluster.run_to_height(cluster.nodes[0].core.state.height + 8)
    for node in cluster.up():
        found = on_chain(node)
        assert len(found) == len(valid)
        assert {evidence_subject(piece): piece for piece in found} == valid
        assert not node.core.evidence


def test_evidence_against_oneself_makes_silent() -> None:
    """[N4, D3] Somebody signs with our key: the journal cannot have both words."""
    cluster = with_liar()
    accuser = Accuser(cluster.genesis)
    cluster.run_to_height(1)
    node = cluster.nodes[0]
    is_voting = []
    for accused in (1, 0):
        cluster.say(LIAR, 0, EvidenceFound(accuser.freezes(accused)))
        is_voting.append(node.core.is_voting)
    assert is_voting == [True, False]
    codes = [notice.code for notice in node.notices if isinstance(notice, Alarm)]
    assert codes == ["consensus.equivocation", "amnesia.found", "consensus.equivocation"]
