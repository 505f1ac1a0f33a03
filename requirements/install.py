"""Make `.venv` beside the launcher and install the locked packages into it, every hash checked.

Called by ready.sh with the names of lock files. Uses the standard library alone. One installer
works at a time; a second one waits and then finds the work done. What it says goes to standard
error, because standard output belongs to the command that the user typed.
"""

import fcntl
import os
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
OPTIONAL = "fast"
"""The lock file that nothing needs; what it names has wheels on some systems alone."""


def say(sentence: str) -> None:
    """Tell the user on standard error what is going on."""
    sys.stderr.write(f"lockstep: {sentence}\n")
    sys.stderr.flush()


def take_turn() -> None:
    """Wait until no other installer works on this checkout; the turn ends with the process."""
    # The lock is on the directory itself: it leaves no file, and a killed holder frees it.
    directory = os.open(ROOT, os.O_RDONLY)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("another installation is at work here; waiting for it.")
        fcntl.flock(directory, fcntl.LOCK_EX)


def is_usable() -> bool:
    """Say whether `.venv` has a Python that is new enough and has pip."""
    probe = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    return (
        PYTHON.exists()
        and subprocess.run([PYTHON, "-c", probe], capture_output=True, check=False).returncode == 0
    )


def make_environment() -> None:
    """Make `.venv` anew with the Python that runs this file."""
    if VENV.exists() and not (VENV / "pyvenv.cfg").exists() and any(VENV.iterdir()):
        sys.exit(f"lockstep: {VENV} is no virtual environment: move it away and run this again.")
    say(f"first use: making .venv with Python {sys.version.split()[0]}.")
    venv.create(VENV, clear=True, with_pip=True)
    # A relative path, so that the checkout can be moved. An editable installation would build.
    packages = next((VENV / "lib").glob("python3.*")) / "site-packages"
    (packages / "lockstep-src.pth").write_text("../../../../src\n")


def run_pip(locks: Sequence[Path]) -> str | None:
    """Install the lock files; return what pip says if it cannot, None if it could."""
    command = [str(PYTHON), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    command += ["--require-hashes", "--only-binary", ":all:"]
    for lock in locks:
        command += ["-r", str(lock)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return done.stdout if done.returncode != 0 else None


def install(locks: Sequence[Path]) -> None:
    """Install the lock files and leave a copy of each as the stamp."""
    say(f"installing {', '.join(lock.name for lock in locks)}; this takes some seconds, once.")
    contents = [lock.read_bytes() for lock in locks]
    needed = [lock for lock in locks if lock.stem != OPTIONAL]
    if run_pip(locks) is not None:
        complaint = run_pip(needed)
        if complaint is not None:
            sys.stderr.write(complaint)
            sys.exit(
                "lockstep: the packages were not installed; pip says why above. Is the network up?"
            )
        # The stamp is left all the same, or every start would try again.
        say(f"{OPTIONAL}.txt was not installed: all works without it, signatures take longer.")
    for lock, content in zip(locks, contents, strict=True):
        fresh = VENV / f".{lock.name}"
        fresh.write_bytes(content)
        fresh.replace(VENV / f"installed-{lock.name}")


def main(names: Sequence[str]) -> None:
    """Bring `.venv` up to the lock files of the given names."""
    locks = [ROOT / "requirements" / f"{name}.txt" for name in names]
    started = time.monotonic()
    take_turn()
    stamps = [VENV / f"installed-{lock.name}" for lock in locks]
    usable = is_usable()
    if usable and all(
        stamp.exists() and stamp.read_bytes() == lock.read_bytes()
        for stamp, lock in zip(stamps, locks, strict=True)
    ):
        return
    if not usable:
        make_environment()
    install(locks)
    say(f"ready after {time.monotonic() - started:.0f} s.")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (OSError, subprocess.SubprocessError) as fault:
        sys.exit(f"lockstep: .venv could not be made: {fault}.")
    except KeyboardInterrupt:
        sys.exit("lockstep: interrupted; the next start goes on from here.")
