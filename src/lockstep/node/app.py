"""The composition root: builds a node, runs it in one task group, stops it in good order.

The order of an orderly stop: no new work is taken; what waits is made durable and sent; peers get
GOODBYE; programs get their last answers; the database is closed. A second signal ends the process
at once, which is always safe.
"""

import asyncio
import gc
import logging
import os
import resource
import signal
import sys
from typing import Final

import msgspec
import uvloop

from lockstep.errors import Fatal, LockstepError, Misuse
from lockstep.net.identity import NodeIdentity
from lockstep.net.manager import PeerManager, PeerSettings
from lockstep.node.backends import Backend, choose_backend, count_threads
from lockstep.node.bus import Bus
from lockstep.node.committees import ChainFacts
from lockstep.node.config import (
    COOKIE_FILE,
    LOG_FILE,
    NODE_KEY_FILE,
    RUNTIME_FILE,
    NodeConfig,
)
from lockstep.node.datadir import check_node_key, load_genesis, load_seed, load_voting_key
from lockstep.node.inbox import Inbox
from lockstep.node.peergate import AllowedPeers, PeerGate
from lockstep.node.recorder import Recorder
from lockstep.node.runtime import Runtime
from lockstep.node.submitter import NodeSubmitter
from lockstep.node.verifier import FrameVerifier
from lockstep.observability.logs import close_logs, configure_logs
from lockstep.observability.metrics import NodeMetrics, ShellFacts
from lockstep.replica.batcher import Batcher
from lockstep.replica.blockpages import BlockAssembler
from lockstep.replica.effects import Alarm, BlockAdded, Notice, TransactionsDropped, VotingChanged
from lockstep.replica.events import Started
from lockstep.replica.replica import Replica
from lockstep.rpc.listening import bind_rpc
from lockstep.rpc.server import RpcServer
from lockstep.rpc.service import NodeService
from lockstep.storage.crashpoints import reach
from lockstep.storage.readers import Readers
from lockstep.storage.store import Store

EXIT_NOT_STARTED: Final = 1
EXIT_FATAL: Final = 3
STOP_S_MAX: Final = 9.0
"""An orderly stop that takes longer ends with a fault."""
GC_THRESHOLDS: Final = (5_000, 50, 1_000)

logger: Final = logging.getLogger(__name__)


class Optimised(Fatal):
    """Python was started with assertions off."""

    code = "node.optimised"
    hint = "start Python without -O and without PYTHONOPTIMIZE"


class StopSlow(Fatal):
    """The node could not stop in good order in time; nothing durable is lost."""

    code = "node.stop_slow"


class TaskLeft(Misuse):
    """A task outlived the node."""

    code = "node.task_left"


def run(config: NodeConfig) -> int:
    """Run a node until it is told to stop; return the exit code.

    0 is an orderly stop. `EXIT_NOT_STARTED` and `EXIT_FATAL`, before and after the node was up,
    come with one sentence on standard error and in the log. A second signal ends the process with
    128 and its number.
    """
    os.umask(0o077)
    # A core dump would hold the voting key.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    configure_logs(config.directory / LOG_FILE, config.settings.log_level)
    up = asyncio.Event()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(config, up))
    except Exception as fault:  # noqa: BLE001  # Whatever it is, the node has stopped and says why.
        _report(_innermost(fault))
        return EXIT_FATAL if up.is_set() else EXIT_NOT_STARTED
    finally:
        close_logs()
    return 0


async def serve(config: NodeConfig, up: asyncio.Event) -> None:
    """Run a node on the running loop until a signal or the RPC asks it to stop.

    `up` is set once all doors are open.

    Raises:
        Fatal: If it cannot start or go on; alone or in a group.
        TaskLeft: If a task outlived the node.
    """
    if not __debug__:
        raise Optimised("a node keeps its assertions on in production")
    before = asyncio.all_tasks()
    genesis = load_genesis(config.directory, config.settings.network)
    identity = NodeIdentity(load_seed(config.directory / NODE_KEY_FILE))
    voting_key = load_voting_key(config.directory)
    public_key = None if voting_key is None else voting_key.public_key
    check_node_key(genesis, node_key=identity.public_key, voting_key=public_key)
    backend = choose_backend(config.settings.verify_backend)
    store = Store.open(config.directory, genesis, voting_key=public_key)
    try:
        readers = store.readers()
        tip = store.load_tip()
        replica = Replica(
            genesis=genesis,
            state=store.load_state(),
            view=readers,
            signer=voting_key,
            verifier=backend.verifier,
            tip_certificate=None if tip is None else tip.certificate,
            has_amnesia=store.has_amnesia,
        )
        replica.recover(store.load_journal(), tip, readers.deltas())
        node = _Node(
            config,
            store=store,
            readers=readers,
            replica=replica,
            identity=identity,
            backend=backend,
        )
        await node.run(up)
    finally:
        store.close()
    left = [task.get_name() for task in asyncio.all_tasks() - before]
    if left:
        raise TaskLeft(f"tasks outlived the node: {', '.join(left)}")


class _Node:
    """The parts of one node, wired; made and run by `serve` alone."""

    def __init__(
        self,
        config: NodeConfig,
        *,
        store: Store,
        readers: Readers,
        replica: Replica,
        identity: NodeIdentity,
        backend: Backend,
    ) -> None:
        view = replica.view
        genesis = view.genesis
        self._config = config
        self._backend = backend
        self._asked = asyncio.Event()
        self._view = view
        self._readers = readers
        self._metrics = NodeMetrics()
        self._bus = Bus()
        inbox = self._inbox = Inbox()
        self._recorder = None if config.record is None else Recorder(config.record)
        gate = PeerGate(inbox, self._recorder)
        self._peers = PeerManager(
            identity,
            PeerSettings(genesis.network, genesis.chain_id, config.p2p, config.peers),
            allowed=AllowedPeers(view, config.followers),
            handler=gate,
            height=lambda: view.state.height,
        )
        assembler = BlockAssembler()
        self._runtime = Runtime(
            inbox=inbox,
            core=replica,
            store=store,
            reader=readers,
            peers=self._peers,
            publish=self._bus.publish,
            requests=assembler,
            observer=self._metrics,
        )
        self._verifier = FrameVerifier(
            chain=ChainFacts(view, genesis.closing_every),
            verifier=backend.verifier,
            peers=self._peers,
            requests=assembler,
            post=inbox.put,
            observer=self._metrics,
            threads=count_threads(),
            is_inline=backend.is_vectorised,
        )
        gate.open(self._verifier)
        self._peers.bind()
        doors = [config.rpc] if config.metrics is None else [config.rpc, config.metrics]
        self._sockets = [bind_rpc(host, port) for host, port in doors]

    async def run(self, up: asyncio.Event) -> None:
        """Run until asked to stop, then stop in good order."""
        try:
            async with asyncio.TaskGroup() as group:
                await self._live(group, up)
        finally:
            for listener in self._sockets:
                listener.close()
            if self._recorder is not None:
                self._recorder.close()

    async def _live(self, group: asyncio.TaskGroup, up: asyncio.Event) -> None:
        submitter = NodeSubmitter(
            known=self._view,
            batcher=Batcher(members=len(self._view.genesis.members)),
            maker=self._verifier,
            post=self._inbox.put,
            publish=self._bus.publish,
            group=group,
        )
        service = NodeService(
            view=self._view,
            readers=self._readers,
            submitter=submitter,
            peers=self._peers,
            settled=self._runtime.settled,
            stop=self._asked.set,
            fail=self._runtime.fail,
            shortage=self._runtime.shortage,
            verify_backend=self._backend.name,
        )
        server = RpcServer(
            service,
            sockets=self._sockets,
            cookie_path=self._config.directory / COOKIE_FILE,
            render_metrics=self._metrics.render,
        )
        self._metrics.read_from(self._view, self._shell_facts)
        self._metrics.name_backend(self._backend.name)
        for listener in (submitter.hear, self._metrics.on_notice, service.hear, _log_notice):
            self._bus.listen(listener)
        self._runtime.watch_commits(submitter.on_commit)
        self._inbox.put_now(Started())
        core = group.create_task(self._runtime.run(), name="runtime")
        services = [
            group.create_task(self._verifier.run(), name="verifier"),
            group.create_task(self._runtime.watch_lag(), name="lag"),
        ]
        doors = [
            group.create_task(self._peers.run(), name="peers"),
            group.create_task(server.run(), name="rpc"),
        ]
        self._settle_memory()
        with _Signals(self._asked), _RuntimeFile(self._config, self._facts()):
            up.set()
            await self._asked.wait()
            logger.info("stopping")
            reach("stop.begin.after")
            try:
                async with asyncio.timeout(STOP_S_MAX):
                    service.close()
                    self._runtime.stop()
                    await core
                    reach("stop.core.after")
                    submitter.close()
                    server.stop()
                    await self._peers.close()
                    await asyncio.wait(doors)
            except TimeoutError as fault:
                for task in asyncio.all_tasks():
                    where = [f"{f.f_code.co_qualname}:{f.f_lineno}" for f in task.get_stack()]
                    logger.warning("still running", extra={"task": task.get_name(), "where": where})
                raise StopSlow(f"the node did not stop within {STOP_S_MAX:g} s") from fault
            for task in services:
                task.cancel()
        logger.info("stopped")

    def _shell_facts(self) -> ShellFacts:
        dialled = [info.dialled for info in self._peers.peers()]
        return ShellFacts(
            inbound=dialled.count(False),
            outbound=dialled.count(True),
            inbox_events=len(self._inbox),
            index_changes=self._readers.changes_waiting,
        )

    def _facts(self) -> dict[str, int | str]:
        return {
            "pid": os.getpid(),
            "p2p": self._peers.port,
            "rpc": self._sockets[0].getsockname()[1],
            "metrics": self._sockets[-1].getsockname()[1],
            "verify_backend": self._backend.name,
        }

    def _settle_memory(self) -> None:
        """Keep the collector from walking over what stays for the node's whole life."""
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)


class _Signals:
    """SIGTERM and SIGINT ask for an orderly stop; a second one ends the process at once."""

    def __init__(self, asked: asyncio.Event) -> None:
        self._asked = asked
        self._loop = asyncio.get_running_loop()
        self._count = 0

    def __enter__(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._on_signal, number)

    def __exit__(self, *_: object) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.remove_signal_handler(number)

    def _on_signal(self, number: signal.Signals) -> None:
        self._count += 1
        if self._count > 1:
            # Nothing is lost: what was promised is synced, and the next start replays it.
            os._exit(128 + number)
        logger.info("signal", extra={"signal": number.name})
        self._asked.set()


class _RuntimeFile:
    """Says who runs here and where it listens, as long as it does."""

    def __init__(self, config: NodeConfig, facts: dict[str, int | str]) -> None:
        self._path = config.directory / RUNTIME_FILE
        self._content = msgspec.json.encode(facts) + b"\n"

    def __enter__(self) -> None:
        # Put into place with one rename, so that nobody reads half of it.
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(self._content)
        reach("runtime_file.rename.before")
        fresh.replace(self._path)
        reach("runtime_file.rename.after")
        logger.info("up", extra={"where": self._content.decode().strip()})

    def __exit__(self, *_: object) -> None:
        self._path.unlink(missing_ok=True)
        reach("runtime_file.remove.after")


def _log_notice(notice: Notice) -> None:
    match notice:
        case BlockAdded():
            logger.info(
                "block",
                extra={
                    "height": notice.height,
                    "block": notice.block_id.hex(),
                    "payments": len(notice.txids),
                    "closing": notice.closing,
                    "round": notice.round,
                    "by_sync": notice.by_sync,
                },
            )
        case Alarm(code=code, sentence=sentence):
            logger.error("alarm", extra={"code": code, "why": sentence})
        case VotingChanged(is_voting=is_voting, sentence=sentence):
            logger.info("voting" if is_voting else "silent", extra={"why": sentence})
        case TransactionsDropped(txids=txids, code=code):
            logger.info("payments dropped", extra={"payments": len(txids), "code": code})


def _innermost(fault: Exception) -> Exception:
    """Return the first error within nested groups: the one that stopped the rest."""
    while isinstance(fault, ExceptionGroup):
        fault = fault.exceptions[0]
    return fault


def _report(fault: Exception) -> None:
    """Say in one sentence why the node stopped."""
    known = isinstance(fault, LockstepError)
    code = fault.code if isinstance(fault, LockstepError) else "node.defect"
    sentence = str(fault) if known else f"a defect stopped the node: {fault!r}"
    logger.critical(
        "fatal", extra={"code": code, "why": sentence}, exc_info=None if known else fault
    )
    sys.stderr.write(f"error: {sentence} ({code})\n")
    if isinstance(fault, LockstepError) and fault.hint:
        sys.stderr.write(f"hint: {fault.hint}\n")
