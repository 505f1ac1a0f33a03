"""`lockstep status` and `lockstep stop`: is it running right, on the right chain; end it."""

import os
import time
from pathlib import Path
from typing import Any, Final

import msgspec
import rich_click as click

from lockstep.cli.door import NoNodeRuns, dir_option, open_node, read_runtime
from lockstep.cli.failure import report_failure
from lockstep.cli.output import format_table, json_option, say_result
from lockstep.devnet.place import Place, find_place
from lockstep.errors import LockstepError, Rejected, Unavailable

EXIT_WELL: Final = 0
EXIT_DEGRADED: Final = 1
EXIT_DOWN: Final = 2
STATUS_TIMEOUT_S: Final = 5
STATES: Final = {EXIT_WELL: "well", EXIT_DEGRADED: "degraded", EXIT_DOWN: "down"}


class WholeDevnet(Rejected):
    """A devnet is stopped where it was started, not node by node."""

    code = "stop.devnet"
    hint = "press Ctrl-C where it runs, or name one of its nodes with --dir DIR/node0"


@click.command()
@dir_option
@json_option
def status(directory: Path | None, *, as_json: bool) -> int:
    r"""Say whether a node, or each node of a devnet, is well.

    Exit codes: 0 well, 1 degraded (a node is down or not ready), 2 down.

    \b
    Examples:
      lockstep status
      lockstep status --dir ~/node --json
    """
    try:
        place = find_place(directory)
    except Unavailable as fault:
        return report_failure(fault, as_json=as_json, exit_code=EXIT_DOWN)
    nodes = [_ask(path) for path in place.node_directories()]
    states = [node["state"] for node in nodes]
    if all(state == "down" for state in states):
        code = EXIT_DOWN
    else:
        code = EXIT_WELL if all(state == "well" for state in states) else EXIT_DEGRADED
    content = {"state": STATES[code], "directory": str(place.directory), "nodes": nodes}
    say_result(content, _describe(content, place), as_json=as_json)
    return code


@click.command()
@dir_option
@json_option
def stop(directory: Path | None, *, as_json: bool) -> None:
    r"""Ask a running node for an orderly stop.

    \b
    Example:
      lockstep stop --dir ~/node
    """
    place = find_place(directory)
    if place.is_devnet:
        raise WholeDevnet(f"{place.directory} is a devnet of {len(place.node_directories())} nodes")
    client = open_node(place.directory)
    if client is None:
        raise NoNodeRuns(f"the node in {place.directory} is not running")
    with client:
        sentence = client.call("stop")
    say_result({"directory": str(place.directory), "stopping": True}, [sentence], as_json=as_json)


def _ask(directory: Path) -> dict[str, Any]:
    """Ask one node how it is; a node that does not answer is down."""
    answer: dict[str, Any] = {"directory": str(directory), "state": "down", "reasons": []}
    client = open_node(directory, timeout_s=STATUS_TIMEOUT_S)
    if client is None:
        answer["reasons"] = [{"code": "node.down", "message": "the node does not answer"}]
        return answer
    try:
        with client:
            chain = client.call("getblockchaininfo")
            network = client.call("getnetworkinfo")
            agreement = client.call("getconsensusinfo")
            pool = client.call("getmempoolinfo")
            code, body = client.get("/readyz")
            uptime_s = client.call("uptime")
    except LockstepError as fault:
        answer["reasons"] = [{"code": fault.code, "message": str(fault)}]
        return answer
    disk = os.statvfs(directory)
    answer |= {
        "state": "well" if code == 200 else "degraded",
        "reasons": msgspec.json.decode(body)["reasons"],
        "runtime": read_runtime(directory),
        "network": chain["chain"],
        "chain_id": chain["chain_id"],
        "height": chain["blocks"],
        "tip": chain["bestblockhash"],
        "tip_age_ms": int(time.time() * 1000) - chain["time_ms"],
        "epoch": chain["epoch"],
        "next_closing": chain["next_closing"],
        "round": agreement["round"],
        "peers": network["connections"],
        "connected_weight": network["connected_weight"],
        "quorum": network["quorum"],
        "total_weight": network["total_weight"],
        "pool": pool["size"],
        "verify_backend": network["verify_backend"],
        "uptime_s": uptime_s,
        "disk_free_bytes": disk.f_bavail * disk.f_frsize,
    }
    return answer


def _describe(content: dict[str, Any], place: Place) -> list[str]:
    nodes = content["nodes"]
    lines = [f"{content['state']}: {content['directory']}"]
    if known := [node for node in nodes if "chain_id" in node]:
        lines.append(f"network {known[0]['network']}, chain {known[0]['chain_id'][:16]}")
    head = ("node", "state", "height", "epoch", "peers", "weight", "quorum", "pool", "free")
    rows = [(*head, "verifier")]
    for node in nodes:
        name = Path(node["directory"]).name if place.is_devnet else "this"
        if "height" not in node:
            rows.append((name, node["state"], *["-"] * 8))
            continue
        numbers = (node["height"], node["epoch"], node["peers"])
        weight = f"{node['connected_weight']}/{node['total_weight']}"
        free = f"{node['disk_free_bytes'] // 2**30} GiB"
        texts = (weight, str(node["quorum"]), str(node["pool"]), free, node["verify_backend"])
        rows.append((name, node["state"], *map(str, numbers), *texts))
    lines += format_table(rows)
    for node in nodes:
        lines += [f"{Path(node['directory']).name}: {r['message']}" for r in node["reasons"]]
    return lines
