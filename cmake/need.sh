#!/bin/sh
# need.sh: the tools a make target needs, installed where they are missing on Debian and Ubuntu.
#   need.sh PACKAGE[:COMMAND] ...     rust = cargo and rustc of at least the version in Cargo.toml
# Rule: touches nothing when everything is there (no network then), says what it installs, and never installs Rust.
set -eu
cd "$(dirname "$0")/.."

rust() {
  want=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' Cargo.toml)
  help="Install Rust $want or newer: https://rustup.rs, or your system's packages if they are recent enough."
  for tool in cargo rustc; do
    command -v $tool >/dev/null 2>&1 || { echo "$tool is missing. $help" >&2; exit 1; }
  done
  have=$(rustc --version | sed 's/^rustc \([0-9.]*\).*/\1/')
  oldest=$(printf '%s\n%s\n' "$want" "$have" | sort -t. -k1,1n -k2,2n -k3,3n | head -n 1)
  [ "$oldest" = "$want" ] || { echo "rustc is $have, which is too old. $help" >&2; exit 1; }
}

missing=
for need in "$@"; do
  package=${need%%:*} command=
  case $need in *:*) command=${need#*:} ;; esac
  if [ "$package" = rust ]; then
    rust
  elif [ -n "$command" ] && command -v "$command" >/dev/null 2>&1; then
    :
  elif command -v dpkg-query >/dev/null 2>&1; then
    case $(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true) in
      *"ok installed") ;;
      *) missing="$missing $package" ;;
    esac
  elif [ -n "$command" ]; then
    echo "note: $command is missing (Debian's package: $package); going on without it" >&2
  fi
done
[ -n "$missing" ] || exit 0
command -v apt-get >/dev/null 2>&1 || { echo "note: no apt-get here; please install the equivalents of:$missing" >&2; exit 0; }

sudo=
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null 2>&1 || { echo "missing:$missing; run as root: apt-get install$missing" >&2; exit 1; }
  sudo=sudo
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
# Known package lists first; they are fetched anew only if that does not do.
# shellcheck disable=SC2086
$sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 || {
  $sudo apt-get update -qq
  $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
}
