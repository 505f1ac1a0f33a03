# Sourced by ./lockstep and ./check, which set $here. POSIX shell.

# Print the first Python that can carry Lockstep; explain on standard error if there is none.
find_python() {
    found=
    if [ -n "${LOCKSTEP_PYTHON:-}" ]; then
        set -- "$LOCKSTEP_PYTHON"
    else
        set -- python3.13 python3.12 python3.11 python3.14 python3
    fi
    for candidate in "$@"; do
        version=$("$candidate" -c 'import sys; print(".".join(map(str, sys.version_info[:3])))' \
            2>/dev/null) || continue
        found=${found:-"$candidate is Python $version, which is too old"}
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || continue
        found="$candidate is Python $version but has no venv module"
        if "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            printf '%s\n' "$candidate"
            return 0
        fi
    done
    case $found in
        *venv*) next="install it (Debian, Ubuntu: apt install python3-venv) and run this again" ;;
        *) next="install Python 3.11 or newer, or name one in LOCKSTEP_PYTHON, and run this again" ;;
    esac
    printf 'lockstep: %s: %s.\n' "${found:-no Python was found${LOCKSTEP_PYTHON:+ at $LOCKSTEP_PYTHON}}" "$next" >&2
    return 1
}

# Make .venv hold the packages of the named lock files (run, fast, check). Quick when it already does:
# the stamp beside the packages is a copy of the lock file they were installed from.
ready() {
    for lock in "$@"; do
        if ! [ -x "$here/.venv/bin/python" ] ||
            ! cmp -s "$here/requirements/$lock.txt" "$here/.venv/installed-$lock.txt"; then
            python=$(find_python) || exit 1
            "$python" "$here/requirements/install.py" "$@" || exit 1
            return 0
        fi
    done
}
