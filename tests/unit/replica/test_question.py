"""Nothing is signed before the others have said what the key has signed [D3]."""

import pytest

from lockstep.primitives.messages import GetOwnWords, Message, OwnWords
from lockstep.primitives.votes import Vote, VoteKind
from lockstep.replica import ownwords
from lockstep.replica.answers import VotingState
from lockstep.replica.effects import OwnFreeze, RoundSigned
from unit.replica.cluster import said
from unit.replica.gates import refuse
from unit.replica.silent import (
    ROUND_TRIP_MS,
    alarms,
    deaf,
    make_cluster,
    signed_by,
    state_of,
)


def test_a_node_is_silent_until_answers_of_quorum_weight_have_come() -> None:
    cluster = make_cluster()
    signed = signed_by(cluster, 0)
    gate = deaf(0, to=(2, 3))
    cluster.gates.append(gate)
    payment = cluster.pay_coin(0)
    cluster.submit(0, payment)
    cluster.run_to_height(2)
    assert cluster.all_final(payment)
    assert signed == []
    assert state_of(cluster, 0) is VotingState.ASKING
    cluster.gates.remove(gate)
    cluster.run_until(lambda: bool(signed), limit_ms=1_100)
    assert state_of(cluster, 0) is VotingState.VOTING


def test_what_waited_in_silence_is_said_when_it_ends() -> None:
    """Vote, Confirm and the round's prevote; the node's weight is needed for each of them."""
    cluster = make_cluster()
    cluster.crash(3)
    cluster.crash(0)
    gate = deaf(0, to=(2,))
    cluster.gates.append(gate)
    cluster.start(0)
    payment = cluster.pay_coin(0)
    cluster.submit(0, payment)
    cluster.run(700)
    assert not cluster.is_final(1, payment)
    height = cluster.nodes[1].core.state.height
    cluster.gates.remove(gate)
    cluster.run_until(lambda: state_of(cluster, 0) is VotingState.VOTING, limit_ms=1_100)
    cluster.run_until(lambda: cluster.all_final(payment), limit_ms=5 * ROUND_TRIP_MS)
    cluster.run_to_height(height + 2, limit_ms=4_000)


def test_a_plain_restart_votes_after_one_round_trip() -> None:
    """Being behind the chain is not amnesia either."""
    cluster = make_cluster()
    for number in range(4):
        cluster.submit(number, cluster.pay_coin(number))
        cluster.run(300)
    cluster.crash(0)
    away = cluster.pay_coin(10)
    cluster.submit(1, away)
    cluster.run(3_000)
    cluster.start(0)
    fresh = cluster.pay_coin(11)
    cluster.submit(0, fresh)
    cluster.run_until(lambda: said(cluster.nodes[0], VoteKind.VOTE, fresh), limit_ms=3_000)
    cluster.crash(0)
    cluster.start(0)
    again = cluster.pay_coin(12)
    cluster.submit(0, again)
    cluster.run_until(lambda: said(cluster.nodes[0], VoteKind.VOTE, again), limit_ms=ROUND_TRIP_MS)
    assert alarms(cluster, 0) == []


@pytest.mark.parametrize("seed", range(6))
def test_all_nodes_restarted_at_once_go_on(seed: int) -> None:
    cluster = make_cluster(seed=seed, closing_every=3)
    payments = [cluster.pay_coin(number) for number in range(8)]
    for number, payment in enumerate(payments):
        cluster.submit(number % 4, payment)
        cluster.run(211 + 97 * seed)
        if number % 3 == 2:
            for index in range(4):
                cluster.crash(index)
            for index in range(4):
                cluster.start(index)
    cluster.run_until(lambda: cluster.all_final(*payments))
    cluster.run_to_height(cluster.nodes[0].core.state.height + 4)
    assert cluster.watch.alarms == []


def test_two_answers_suffice_where_the_third_is_down() -> None:
    cluster = make_cluster()
    cluster.run_to_height(1)
    cluster.crash(3)
    cluster.crash(0)
    cluster.start(0)
    cluster.run_until(lambda: state_of(cluster, 0) is VotingState.VOTING, limit_ms=ROUND_TRIP_MS)
    cluster.run_to_height(cluster.nodes[0].core.state.height + 5)


def test_a_sole_member_needs_no_answer() -> None:
    cluster = make_cluster(7, 1, 1)
    assert state_of(cluster, 0) is VotingState.VOTING
    assert state_of(cluster, 1) is VotingState.ASKING


def test_a_follower_asks_nobody_and_is_told_nothing() -> None:
    cluster = make_cluster()
    cluster.crash(0)
    cluster.keys[0] = None
    heard: list[Message] = []

    def listen(sender: int, _: int, message: Message) -> bool:
        if sender == 0:
            heard.append(message)
        return True

    cluster.gates.append(listen)
    cluster.start(0)
    cluster.run_to_height(3)
    assert not any(isinstance(message, GetOwnWords) for message in heard)
    assert state_of(cluster, 0) is VotingState.FOLLOWING
    core = cluster.nodes[1].core
    for peer, answers in ((b"\x05" * 32, 0), (cluster.peers[0], 1)):
        ownwords.answer(core, peer, GetOwnWords(1))
        assert len(core.effects) == answers


def test_only_true_answers_of_members_to_this_question_count() -> None:
    cluster = make_cluster()
    cluster.crash(0)
    cluster.gates.append(refuse(GetOwnWords))
    cluster.start(0)
    core = cluster.nodes[0].core
    question, state = core.silence.question, core.state

    def words(
        number: int = question,
        epoch: int = state.epoch,
        height: int = state.height,
        page: int = 0,
        pages: int = 1,
        votes: tuple[Vote, ...] = (),
    ) -> OwnWords:
        return OwnWords(number, height, epoch, page, pages, votes, (), (), ())

    for number in range(3):
        cluster.say(1, 0, words())
        assert not core.silence.is_lifted, f"one member counted {number + 1} times"
    cluster.say(2, 0, words(question - 1))
    cluster.say(2, 0, words(epoch=state.epoch + 1))
    cluster.say(2, 0, words(height=state.height + 5))
    cluster.say(2, 0, words(pages=2))
    cluster.say(
        2, 0, words(page=1, pages=2, votes=(cluster.vote(3, VoteKind.VOTE, (bytes(32), b"\x01")),))
    )
    forged = cluster.vote(3, VoteKind.VOTE, (bytes(32), b"\x01"))
    forged = Vote(forged.kind, forged.epoch, cluster.ids[0], forged.entries, forged.signature)
    cluster.say(2, 0, words(page=1, pages=2, votes=(forged,)))
    cluster.say(2, 0, words(page=7, pages=2))
    codes = [code for _, code in cluster.nodes[0].penalties]
    assert codes == ["amnesia.foreign", "message.signature", "amnesia.pages"]
    assert not core.silence.is_lifted
    assert alarms(cluster, 0) == []
    cluster.say(2, 0, words(page=1, pages=2))
    assert core.silence.is_lifted


def test_an_answer_from_further_up_counts_when_this_node_is_there() -> None:
    """What was signed in between, its sender has forgotten."""
    cluster = make_cluster(closing_every=20)
    cluster.run_to_height(1)
    cluster.crash(0)
    cluster.run_to_height(5)
    heights: list[int] = []
    cluster.gates.append(lambda s, r, m: not (r == 0 and type(m).__name__ == "BlockPage"))
    signed = signed_by(cluster, 0)
    cluster.start(0)
    cluster.run(600)
    assert cluster.nodes[0].core.silence.answers
    assert signed == []
    cluster.gates.clear()
    cluster.run_until(lambda: bool(signed), limit_ms=3_000)
    heights = [record.height for record in signed if isinstance(record, RoundSigned)]
    assert all(height > 5 for height in heights)


def test_a_large_answer_comes_in_pages_and_counts_when_all_are_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ownwords, "PAGE_BYTES_MAX", 300)
    cluster = make_cluster(closing_every=40)
    for number in range(10):
        cluster.submit(0, cluster.pay_coin(number))
        cluster.run(20)
    cluster.run_to_height(1)
    cluster.crash(0)
    lost: list[OwnWords] = []

    def lose(_: int, receiver: int, message: Message) -> bool:
        if isinstance(message, OwnWords) and message.page == 1 and len(lost) < 3:
            lost.append(message)
            return False
        return True

    cluster.gates.append(lose)
    cluster.start(0)
    cluster.run(500)
    assert len(lost) == 3
    assert all(message.pages > 4 for message in lost)
    assert state_of(cluster, 0) is VotingState.ASKING
    cluster.run_until(lambda: state_of(cluster, 0) is VotingState.VOTING, limit_ms=1_100)


def test_a_freeze_that_fell_into_the_silence_is_signed_when_it_ends() -> None:
    """With one node down it is needed for the quorum of FREEZEs [T5]."""
    cluster = make_cluster(closing_every=4)
    payment = cluster.pay_coin(0)
    cluster.submit(0, payment)
    cluster.run_to_height(2)
    cluster.crash(0)
    gate = deaf(0, to=(2, 3))
    cluster.gates.append(gate)
    cluster.start(0)
    cluster.run_until(lambda: cluster.nodes[1].core.finality.frozen)
    cluster.crash(3)
    cluster.run(500)
    assert cluster.nodes[0].core.finality.frozen
    assert cluster.nodes[0].core.own_freeze is None
    signed = signed_by(cluster, 0)
    cluster.gates.remove(gate)
    cluster.run_until(lambda: cluster.nodes[1].core.state.height >= 6, limit_ms=8_000)
    assert any(isinstance(record, OwnFreeze) for record in signed)
    cluster.run_until(lambda: bool(cluster.nodes[0].core.finality.frozen))
    assert cluster.nodes[0].core.own_freeze is not None
