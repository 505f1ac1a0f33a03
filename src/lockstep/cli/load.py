"""`lockstep load`: measure a network by paying through it."""

import os
import sys
import time
from pathlib import Path
from typing import Any, Final

import rich_click as click

from lockstep.cli.door import dir_option
from lockstep.cli.failure import EXIT_FAILED, EXIT_USAGE, report_failure
from lockstep.cli.load_options import load_options
from lockstep.cli.output import json_option, say_result
from lockstep.cli.secret_input import SecretSource, passphrase_options, read_secret
from lockstep.cli.wallet_place import choose_wallet, wallet_option

SIGNATURES: Final = 400
SIGNATURE_ROUNDS: Final = 10
_PLACE_OPTIONS: Final = (
    "addresses",
    "cookies",
    "genesis",
    "directory",
    "wallet_name",
    "passphrase_source",
)


@click.command()
@load_options
@dir_option
@wallet_option
@passphrase_options
@json_option
def load(*, report_file: Path | None, plot_file: Path | None, as_json: bool, **given: Any) -> int:
    r"""Pay through a network and measure: payments final a second, latency, what the nodes use.

    Payments are signed beforehand and handed in on time, whatever the nodes answer. One that is not
    final when its step ends does not count. A step is kept if 95 % of what was asked is final.

    The network is one of its own with --devnet, nodes named by --rpc, or the devnet of --dir. The
    coins are those of --wallet; the devnet's own wallet where none is named.

    Exit codes: 0 measured, 1 cut short or the nodes differ (the report says so), 2 wrong usage.

    \b
    Examples:
      lockstep load --devnet 4 --rate 2000 --for 30
      lockstep load --devnet 4 --saturate --json
      lockstep load --devnet 4 --saturate --overload 4 --report overload.json
      lockstep load --devnet 4 --rate 1000 --mix one=70,two=10,chained=10,conflicting=5,multisig=5
      lockstep load --devnet 4 --ramp 500:8000 --plot ramp.svg
      lockstep load --rpc http://127.0.0.1:24201 --cookie ~/node/.cookie --wallet w --rate 100
    """
    from lockstep.devnet.options import WrongOptions
    from lockstep.load.mix import WrongMix
    from lockstep.load.pacing import WrongRamp
    from lockstep.load.plan import WrongPlan
    from lockstep.load.report import describe_report, finish_report, write_report

    for file in (report_file, plot_file):
        # Said before anything is measured, not after.
        if file is not None and not file.absolute().parent.is_dir():
            raise click.UsageError(f"there is no directory for {file}")
    if plot_file is not None and plot_file.suffix != ".svg":
        raise click.UsageError("a picture is drawn as SVG: name a file that ends in .svg")
    here = _describe_here()
    try:
        report = {**here, **_measure(**given)}
    except (WrongOptions, WrongMix, WrongRamp, WrongPlan) as fault:
        return report_failure(fault, as_json=as_json, exit_code=EXIT_USAGE)
    content = finish_report(report)
    if report_file is not None:
        write_report(report_file, content)
    if plot_file is not None:
        from lockstep.load.plot import draw_report

        plot_file.write_text(draw_report(content), "utf-8")
    say_result(content, describe_report(content), as_json=as_json)
    return 0 if content["is_good"] else EXIT_FAILED


def _measure(
    *,
    devnet_nodes: int | None,
    verify_backend: str | None,
    block_ms: int | None,
    **given: Any,
) -> dict[str, Any]:
    from lockstep.devnet.loading import OwnNetwork, run_load
    from lockstep.load.accounts import Limit
    from lockstep.load.network import Network
    from lockstep.load.plan import WrongPlan, check_plan
    from lockstep.node.backends import AUTO, choose_backend

    place = {name: given.pop(name) for name in _PLACE_OPTIONS}
    plan = _make_plan(**given)
    check_plan(plan)
    if devnet_nodes is not None and (place["addresses"] or place["directory"] is not None):
        raise WrongPlan("--devnet starts a network of its own: leave out --rpc and --dir")
    target: OwnNetwork | Network
    if devnet_nodes is not None:
        target = OwnNetwork(devnet_nodes, verify_backend, block_ms)
    else:
        if verify_backend is not None:
            raise WrongPlan("--verify-backend is for nodes that --devnet starts")
        if block_ms is not None:
            raise WrongPlan("--block-ms is for a network that --devnet founds")
        target = _find_network(**place)
    backend = choose_backend(verify_backend or AUTO)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    us_per_signature = _measure_signature_us(backend.verifier)
    limit = Limit(us_per_signature, (cores or 1) if devnet_nodes else 0)
    report, faults = run_load(target, plan, limit=limit)
    return {
        "us_per_signature": round(us_per_signature, 2),
        "seconds_a_step": plan.seconds,
        "connections": plan.connections,
        "submission": "binary" if plan.is_binary else "json",
        **report,
        "shutdown_faults": faults,
    }


def _find_network(
    *,
    addresses: tuple[str, ...],
    cookies: tuple[Path, ...],
    genesis: Path | None,
    directory: Path | None,
    wallet_name: str | None,
    passphrase_source: SecretSource,
) -> Any:
    """Return the network that runs, by its addresses or in its directory, with the wallet open."""
    from lockstep.devnet.loading import find_network, name_network
    from lockstep.devnet.place import find_place

    wallet, keychain = _open_wallet(wallet_name, directory, passphrase_source)
    if addresses:
        return name_network(addresses, cookies, wallet, keychain, genesis=genesis)
    return find_network(find_place(directory), wallet, keychain)


def _make_plan(
    *, ramp: str | None, mix: str | None, saturate: bool, submit: str, **numbers: Any
) -> Any:
    from lockstep.load.mix import parse_mix
    from lockstep.load.pacing import parse_ramp
    from lockstep.load.plan import Plan

    given = {name: value for name, value in numbers.items() if value is not None}
    if ramp is not None:
        given["ramp"] = parse_ramp(ramp)
    if mix is not None:
        given["mix"] = parse_mix(mix)
    return Plan(is_saturating=saturate, is_binary=submit == "binary", **given)


def _open_wallet(name: str | None, directory: Path | None, source: SecretSource) -> Any:
    """Return the wallet that pays, and its keys."""
    chosen = choose_wallet(name, directory)
    if chosen.passphrase_file is not None and source.is_prompt:
        source = SecretSource(chosen.passphrase_file, None)
    return chosen.wallet, chosen.wallet.unlock(read_secret("passphrase", source))


def _measure_signature_us(verifier: Any) -> float:
    """Return the CPU time of one verification in groups of a full batch, in microseconds."""
    from lockstep.crypto.keys import SecretKey

    key = SecretKey(bytes(range(32)))
    messages = [number.to_bytes(32, "big") for number in range(SIGNATURES)]
    checks = [(key.public_key, message, key.sign(message)) for message in messages]
    verifier.verify_many(checks)
    start_s = time.process_time()
    for _ in range(SIGNATURE_ROUNDS):
        verifier.verify_many(checks)
    return (time.process_time() - start_s) * 1e6 / SIGNATURES / SIGNATURE_ROUNDS


def _describe_here() -> dict[str, Any]:
    """Say where, when and by which words this is measured."""
    from lockstep import __version__
    from lockstep.bench.measuring import describe_machine
    from lockstep.cli.checkout import read_commit

    return {
        "command": " ".join(["lockstep", *sys.argv[1:]]),
        "version": __version__,
        "commit": read_commit(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": describe_machine(),
    }
