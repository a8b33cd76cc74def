# Sourced by the other scripts: where Python and uv are, and the one virtual environment.

venv=.venv

# The newest usable Python; COOP_PYTHON names another one.
find_python() {
    for candidate in "${COOP_PYTHON:-}" python3 python3.13 python3.12 python3.11; do
        [ -n "$candidate" ] || continue
        "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue
        command -v "$candidate"
        return 0
    done
    echo "setup: needs Python 3.11 or newer, and found none on PATH." >&2
    echo "       Install python3 (on Debian also python3-venv) or name one with COOP_PYTHON=/path/to/python3." >&2
    return 1
}

# uv is used where it is found, and never required.
find_uv() {
    command -v uv 2>/dev/null && return 0
    [ -x "$venv/bin/uv" ] && echo "$venv/bin/uv" && return 0
    return 1
}

# Debian keeps ensurepip in a package of its own; a pip that is there already can fill the environment instead.
without_ensurepip() {
    rm -rf "$venv"
    if "$1" -m pip --version >/dev/null 2>&1 && "$1" -m venv --without-pip "$venv"; then
        return 0
    fi
    echo "setup: $1 can make no virtual environment: it has neither ensurepip nor pip, and uv is not on PATH." >&2
    echo "       Install one of them (on Debian: apt-get install python3-venv) and try again." >&2
    return 1
}
