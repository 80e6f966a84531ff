# What the shell of a page's reader begins with.
set -euo pipefail
# Terminals of their own are process groups of their own, which Ctrl-C reaches whole.
set -m
terminals=()

end() {
    status=$?
    trap - EXIT
    for group in ${terminals[@]+"${terminals[@]}"}; do kill -TERM -- "-$group" 2>/dev/null || true; done
    wait
    exit $status
}
trap end EXIT

# Begins a step: what it writes goes to a file of its number.
step() {
    echo "$1" >"$OUT/step"
    exec >"$OUT/$1" 2>&1
}

# Waits until the newest terminal, which belongs to this step, shows a text.
started() {
    terminals+=($!)
    until grep -qF -- "$1" "$OUT/$2"; do
        kill -0 $! 2>/dev/null || exit 1
        sleep 0.1
    done
}

# Ends what runs in the newest terminal.
press_ctrl_c() {
    local newest=$((${#terminals[@]} - 1))
    local group=${terminals[$newest]}
    unset "terminals[$newest]"
    terminals=(${terminals[@]+"${terminals[@]}"})
    kill -INT -- "-$group"
    wait "$group" || [ $? = 130 ]
}

# The shell is the reader's and root's at once.
sudo() {
    if [ "$1" = -u ]; then shift 2; fi
    "$@"
}

# Starts and stops the server of the pages in place of systemd.
systemctl() {
    case "$*" in
    "enable --now fanfold-server" | "start fanfold-server")
        fanfold server --config "$HOME/etc/fanfold/server.toml" >"$OUT/service" 2>&1 &
        terminals+=($!)
        until grep -qF 'is ready at' "$OUT/service"; do
            kill -0 $! || exit 1
            sleep 0.1
        done
        ;;
    "stop fanfold-server") press_ctrl_c ;;
    *) echo "no such service: $*" && exit 1 ;;
    esac
}
