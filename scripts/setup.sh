#!/bin/sh
# setup.sh run|dev: the virtual environment with exactly what the lock file says; nothing to do where nothing changed.
set -eu
cd "$(dirname "$0")/.."
. scripts/python.sh

case "${1:-run}" in
    run) lock=requirements.lock ;;
    dev) lock=requirements-dev.lock ;;
    *) echo "setup: '$1' is not known. Allowed: run, dev." >&2; exit 2 ;;
esac

# What was installed last: the lock file's and the project's own description's content. dev includes run.
wanted=$(cat "$lock" pyproject.toml | sha256sum | cut -d' ' -f1)
for stamp in "$venv/.installed-dev" "$venv/.installed-${1:-run}"; do
    case "$stamp" in *-dev) key=$(cat requirements-dev.lock pyproject.toml | sha256sum | cut -d' ' -f1) ;; *) key=$wanted ;; esac
    [ "$(cat "$stamp" 2>/dev/null)" = "$key" ] && exit 0
done

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
echo "$wanted" > "$venv/.installed-${1:-run}"
