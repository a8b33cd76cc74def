#!/bin/sh
# Installs LLaMA-Factory for the test of a real run: a CPU build, 1.6 GB, two to four minutes.
# Usage: [LLAMAFACTORY_DIR=.llamafactory] [PYTHON=python3.11] sh tests/llamafactory/setup.sh
# Skipped at once when the same pinned packages are already there.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
target=${LLAMAFACTORY_DIR:-$here/../../.llamafactory}
requirements=$here/requirements.txt
stamp=$target/.installed

wanted=$(cat "$requirements" "$0" | cksum)
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then
    echo "LLaMA-Factory is ready in $target"
    exit 0
fi

# Jobs of a service that runs as root run under another account, so that account must be able to
# reach the interpreter: the system's one is preferred to one inside somebody's home directory.
pick_python() {
    for candidate in ${PYTHON:-} /usr/bin/python3.11 /usr/bin/python3.12 /usr/bin/python3.13 python3; do
        if "$candidate" -c 'import ensurepip, venv, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    echo "No Python 3.11 or newer with venv was found (on Debian: apt install python3-venv)." >&2
    exit 1
}

# A folder that is no virtual environment is somebody's own.
if [ -e "$target" ] && [ ! -f "$target/pyvenv.cfg" ] && [ -n "$(ls -A "$target")" ]; then
    echo "$target exists and is no virtual environment. Empty it, or set LLAMAFACTORY_DIR to another folder." >&2
    exit 1
fi

python=$(pick_python)
echo "Installing LLaMA-Factory into $target with $python (two to four minutes) ..."
rm -rf "$target"
"$python" -m venv "$target"
pip="$target/bin/python -m pip --disable-pip-version-check --quiet --quiet"
# torch first and with its dependencies, because a CUDA build brings its own; the rest exactly as pinned.
$pip install --constraint "$requirements" torch
$pip install --no-deps --requirement "$requirements"

# LLaMA-Factory imports torchaudio at start-up but uses it for audio only: an empty module stands in.
site=$("$target/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
if [ ! -d "$site/torchaudio" ]; then
    mkdir "$site/torchaudio"
    : > "$site/torchaudio/__init__.py"
fi
chmod -R go+rX "$target"

HF_HUB_OFFLINE=1 "$target/bin/llamafactory-cli" version > /dev/null
echo "$wanted" > "$stamp"
echo "LLaMA-Factory is ready in $target"
