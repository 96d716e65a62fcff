#!/bin/sh
# run.sh [OPTION ...] = `make differential`: see docs/parsers.md, and compare.py for the options.
# Rule: the other parsers come from PyPI in fixed versions, into an environment below the build directory; nothing else here
# needs a network, and `cargo test` needs none: it repeats what is recorded.
set -eu
cd "$(dirname "$0")/../.."
sh cmake/need.sh rust gcc:cc libc6-dev python3:python3 python3-venv
work=${BUILD:-build}/differential
wanted=tests/differential/requirements.txt
if ! cmp -s "$wanted" "$work/installed.txt"; then
  rm -rf "$work"
  mkdir -p "$work"
  python3 -m venv "$work/python"
  "$work/python/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted"
  cp "$wanted" "$work/installed.txt"
fi
harness=$(cargo test --locked --test differential --no-run --message-format short 2>&1 | tee "$work/build.log" |
  sed -n 's/.*Executable .*(\(.*\))$/\1/p')
[ -n "$harness" ] || { cat "$work/build.log"; exit 1; }
exec "$work/python/bin/python" -B tests/differential/compare.py "$harness" "$@"
