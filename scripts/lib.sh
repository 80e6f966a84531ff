# Sourced by the other scripts: messages, privileges, the toolchain, a container engine, PostgreSQL.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
# One way to build for all scripts, so that none builds again what another has built.
export CARGO_INCREMENTAL=0

say() { printf '\n== %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
have() { command -v "$1" >/dev/null 2>&1; }

# Runs a command as root.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"
    elif have sudo; then sudo -n "$@" || die "needs root: $*"
    else die "needs root, and there is no sudo: $*"
    fi
}

if [ -d "${HOME:-}/.cargo/bin" ]; then PATH=$HOME/.cargo/bin:$PATH; fi
# The pinned toolchain may be installed under another name, such as stable; rustup would fetch it
# once more.
if have rustup && [ -z "${RUSTUP_TOOLCHAIN:-}" ]; then
    pinned=$(sed -n 's/^channel = "\(.*\)"$/\1/p' "$root/rust-toolchain.toml")
    if ! rustup toolchain list | grep -q "^$pinned" &&
        [[ $(rustup run stable rustc -V 2>/dev/null) == "rustc $pinned "* ]]; then
        export RUSTUP_TOOLCHAIN=stable
    fi
fi

engine_answers() { have docker && docker version >/dev/null 2>&1; }

# Starts Debian's dockerd where no container engine answers; stop_engine ends what this started.
engine_pid=
engine_folder=
start_engine() {
    engine_answers && return
    [ -x /usr/sbin/dockerd ] || have dockerd || die "no container engine; run scripts/setup"
    [ "$(id -u)" = 0 ] || die "no container engine answers, and only root can start one"
    engine_folder=$(mktemp -d)
    say "starting a container engine (dockerd) for the duration of this script"
    mountpoint -q /sys/fs/cgroup || ! have cgroupfs-mount || cgroupfs-mount
    # A configuration of its own, whatever the machine's says. No bridge and no firewall rules:
    # our containers have no network.
    cat >"$engine_folder/daemon.json" <<JSON
{
    "data-root": "$engine_folder/data", "exec-root": "$engine_folder/exec",
    "pidfile": "$engine_folder/pid", "bridge": "none", "iptables": false
}
JSON
    PATH=$PATH:/usr/sbin dockerd --config-file "$engine_folder/daemon.json" \
        >"$engine_folder/log" 2>&1 &
    engine_pid=$!
    for _ in $(seq 1 120); do
        engine_answers && return
        kill -0 "$engine_pid" 2>/dev/null || break
        sleep 0.5
    done
    tail -n 20 "$engine_folder/log" >&2
    die "the container engine did not start"
}

stop_engine() {
    [ -n "$engine_pid" ] || return 0
    kill "$engine_pid" 2>/dev/null || true
    wait "$engine_pid" 2>/dev/null || true
    engine_pid=
    rm -rf "$engine_folder"
}

# Runs one of PostgreSQL's programs as a user that it accepts: not root.
postgres() {
    local bin
    bin=$(dirname "$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V | tail -n 1)")
    if [ "$(id -u)" = 0 ]; then (cd / && runuser -u postgres -- "$bin/$1" "${@:2}")
    else "$bin/$1" "${@:2}"
    fi
}

# Starts a PostgreSQL cluster in a temporary folder on a free port, with these options of the
# server, and sets database_url; stop_database ends and removes it.
database_folder=
database_url=
start_database() {
    database_folder=$(mktemp -d)
    [ "$(id -u)" = 0 ] && chown postgres "$database_folder"
    local port
    port=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
    postgres initdb -D "$database_folder/data" -U fanfold -A trust --no-sync >/dev/null
    postgres pg_ctl -D "$database_folder/data" -w -l "$database_folder/log" start >/dev/null \
        -o "-p $port -k $database_folder -c listen_addresses=127.0.0.1 -c max_connections=300 $*" ||
        { cat "$database_folder/log" >&2; die "PostgreSQL did not start"; }
    database_url=postgres://fanfold@127.0.0.1:$port/postgres
}

stop_database() {
    [ -n "$database_folder" ] || return 0
    postgres pg_ctl -D "$database_folder/data" -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$database_folder"
    database_folder=
}
