#!/bin/sh
# Installs a metal9 release on this machine.
#
#   METAL9_RELEASES=https://HOST/PATH sh install.sh
#   sh install.sh --from https://HOST/PATH [--to DIRECTORY]
#
# At the address are, for each kind of machine, metal9-KIND.tar.gz with the program `metal9` in it, and
# metal9-KIND.tar.gz.sha256 with its SHA-256 as `sha256sum` and `shasum -a 256` print it.
set -eu

say() { printf '%s\n' "$*" >&2; }

fail() {
    say "error: $1"
    [ $# -lt 2 ] || say "hint: $2"
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# The kind of this machine, as Rust names it. METAL9_UNAME_S, METAL9_UNAME_M and METAL9_TRANSLATED stand
# in for what the system says, for tests.
kind() {
    system=${METAL9_UNAME_S:-$(uname -s)}
    machine=${METAL9_UNAME_M:-$(uname -m)}
    case "$system" in
    Darwin)
        translated=${METAL9_TRANSLATED:-$(sysctl -n sysctl.proc_translated 2>/dev/null || echo 0)}
        [ "$translated" != 1 ] || fail "this shell runs under Rosetta, where no program reaches the GPU" \
            "run it in a terminal that is not translated: \`arch -arm64 sh install.sh …\`"
        case "$machine" in
        arm64) echo aarch64-apple-darwin ;;
        *) fail "metal9 needs a Mac with Apple Silicon, and this is $machine" ;;
        esac
        ;;
    Linux)
        case "$machine" in
        x86_64 | amd64) echo x86_64-unknown-linux-gnu ;;
        aarch64 | arm64) echo aarch64-unknown-linux-gnu ;;
        *) fail "there is no metal9 for Linux on $machine" ;;
        esac
        ;;
    *) fail "there is no metal9 for $system" "it runs on macOS with Apple Silicon and on Linux" ;;
    esac
}

# fetch ADDRESS FILE
fetch() {
    if has curl; then
        curl --fail --silent --show-error --location --output "$2" "$1"
    elif has wget; then
        wget --quiet --output-document="$2" "$1"
    else
        fail "neither curl nor wget is on this machine" "install one of them"
    fi || fail "cannot fetch $1" "is the address right, and does it have a release for this machine?"
}

# The SHA-256 of a file.
sum() {
    if has sha256sum; then
        line=$(sha256sum "$1")
    elif has shasum; then
        line=$(shasum -a 256 "$1")
    else
        fail "neither sha256sum nor shasum is on this machine" "install one of them"
    fi
    echo "${line%% *}"
}

# Where programs go: for root to where everybody finds them, else to the user's own place.
place() {
    if [ "$(id -u)" = 0 ]; then echo /usr/local/bin; else echo "$HOME/.local/bin"; fi
}

main() {
    from=${METAL9_RELEASES:-}
    to=
    while [ $# -gt 0 ]; do
        case "$1" in
        --from | --to) [ $# -ge 2 ] || fail "$1 needs a value" ;;
        esac
        case "$1" in
        --from) from=$2 && shift 2 ;;
        --to) to=$2 && shift 2 ;;
        -h | --help)
            sed -n '2,8s/^# \{0,1\}//p' "$0"
            return 0
            ;;
        *) fail "\`$1\` is no option" "see \`sh install.sh --help\`" ;;
        esac
    done
    [ -n "$from" ] || fail "it is not said where the release is" \
        "give --from ADDRESS, or set METAL9_RELEASES"
    [ -n "$to" ] || to=$(place)
    name=metal9-$(kind).tar.gz

    scratch=$(mktemp -d)
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 1' HUP INT TERM
    fetch "${from%/}/$name" "$scratch/$name"
    fetch "${from%/}/$name.sha256" "$scratch/$name.sha256"
    wanted=$(cut -d ' ' -f 1 "$scratch/$name.sha256")
    found=$(sum "$scratch/$name")
    [ "$found" = "$wanted" ] || fail "$name is not what was released: its SHA-256 is $found, not $wanted" \
        "fetch it again; if it stays so, do not use it"

    tar -xzf "$scratch/$name" -C "$scratch" metal9 || fail "$name has no program \`metal9\` in it"
    # Releases bring uv along, for machines that have no Python.
    tar -xzf "$scratch/$name" -C "$scratch" metal9-uv 2>/dev/null || true
    chmod 755 "$scratch"/metal9*
    version=$("$scratch/metal9" --version) || fail "the program does not run on this machine"
    mkdir -p "$to" || fail "cannot make $to" "choose another directory with --to"
    # In one step, also where the old one runs.
    for file in metal9-uv metal9; do
        [ -f "$scratch/$file" ] || continue
        if ! { cp "$scratch/$file" "$to/.$file.new" && mv -f "$to/.$file.new" "$to/$file"; }; then
            fail "cannot write to $to" "choose another directory with --to, or run it with sudo"
        fi
    done

    say "installed $version as $to/metal9"
    case ":$PATH:" in
    *":$to:"*) program=metal9 ;;
    *)
        say "hint: $to is not on the search path; add it, or use the whole path"
        program=$to/metal9
        ;;
    esac
    say "next:"
    say "  $program doctor                                     # is this machine fit?"
    say "  $program worker install --gateway HOST:PORT --token TOKEN   # join, and start by itself"
}

main "$@"
