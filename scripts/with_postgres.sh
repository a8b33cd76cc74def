#!/bin/bash
# with_postgres.sh COMMAND...: runs the command with COOP_DATABASE_URL of a PostgreSQL server of its own, made in a temporary
# directory and removed afterwards. Exit code: the command's; 75 where this machine has no PostgreSQL server.
set -eu -o pipefail

find_server() {
    local candidate
    for candidate in /usr/lib/postgresql/*/bin "$(pg_config --bindir 2>/dev/null || true)"; do
        [ -x "$candidate/initdb" ] && [ -x "$candidate/pg_ctl" ] && bin=$candidate
    done
    [ -n "${bin:-}" ]
}

# PostgreSQL refuses to be run by root.
user=$(id -un)
[ "$(id -u)" = 0 ] && user=$(id -un postgres 2>/dev/null || echo nobody)
as_server_user() {
    if [ "$user" = "$(id -un)" ]; then "$@"; return; fi
    setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups "$@"
}

free_port() {
    .venv/bin/python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

cd "$(dirname "$0")/.."
if ! find_server; then
    echo "PostgreSQL: no server is installed here (on Debian: apt-get install postgresql)." >&2
    exit 75
fi

directory=$(mktemp -d)
chmod 711 "$directory"
data=$directory/data
install -d -m 700 -o "$user" "$data"
port=$(free_port)
cleanup() {
    as_server_user "$bin/pg_ctl" -D "$data" -m immediate -w stop >/dev/null 2>&1 || true
    rm -rf "$directory"
}
trap cleanup EXIT

cd "$directory"   # the server's user need not be able to enter the checkout
as_server_user "$bin/initdb" -D "$data" -U coop --auth=trust -E UTF8 --no-sync >/dev/null
as_server_user "$bin/pg_ctl" -D "$data" -l "$data/server.log" -w start >/dev/null \
    -o "-c listen_addresses=127.0.0.1 -c port=$port -c unix_socket_directories='' -c fsync=off"
cd - >/dev/null
COOP_DATABASE_URL=postgresql://coop@127.0.0.1:$port/postgres "$@"
