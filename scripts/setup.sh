#!/bin/sh
# setup.sh run|dev: the virtual environment with exactly what the lock file says; nothing to do where nothing changed.
set -eu
cd "$(dirname "$0")/.."
. scripts/python.sh

kind=${1:-run}
case "$kind" in
    run) lock=requirements.lock ;;
    dev) lock=requirements-dev.lock ;;
    *) echo "setup: '$kind' is not known. Allowed: run, dev." >&2; exit 2 ;;
esac

fingerprint() { cat "$1" pyproject.toml | sha256sum | cut -d' ' -f1; }
is_installed() { [ "$(cat "$venv/.installed-$1" 2>/dev/null)" = "$(fingerprint "$2")" ]; }

is_installed dev requirements-dev.lock && exit 0     # it has all that run needs
is_installed "$kind" "$lock" && exit 0

# One set-up at a time: two would install over each other.
exec 9>"${TMPDIR:-/tmp}/llama-coop-setup-$(id -u)-$(pwd | cksum | cut -d' ' -f1).lock"
if command -v flock >/dev/null; then flock 9; fi

python=$(find_python)
echo "setup: installing what $lock says into $venv ($("$python" -V))"
if uv=$(find_uv); then
    [ -x "$venv/bin/python" ] || "$uv" venv --quiet --python "$python" "$venv"
    install() { "$uv" pip install --quiet --python "$venv/bin/python" "$@"; }
else
    if [ ! -x "$venv/bin/python" ]; then
        "$python" -m venv "$venv" 2>/dev/null || without_ensurepip "$python"
    fi
    if [ -x "$venv/bin/pip" ]; then
        install() { "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }
    else
        install() { "$python" -m pip --python "$venv/bin/python" install --quiet --disable-pip-version-check "$@"; }
    fi
fi
install --require-hashes --requirement "$lock"
install --no-deps --no-build-isolation --editable .
fingerprint "$lock" > "$venv/.installed-$kind"
