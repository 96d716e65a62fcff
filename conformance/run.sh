#!/bin/sh
# run.sh [SUITE ...] = `make conformance`: outside suites against the example server testbed; see README.md here.
# Rule: not part of `make test`: it installs tools (slowhttptest, testssl.sh, h11), takes minutes, and a score is not a verdict.
set -eu
cd "$(dirname "$0")/.."
sh cmake/need.sh rust gcc:cc libc6-dev cmake:cmake openssl:openssl curl:curl python3:python3 python3-venv \
  slowhttptest:slowhttptest testssl.sh:testssl
build=${BUILD:-build}
work=$build/conformance
wanted=conformance/requirements.txt
if ! cmp -s "$wanted" "$work/installed.txt"; then
  rm -rf "$work"
  mkdir -p "$work"
  python3 -m venv "$work/python"
  "$work/python/bin/pip" install --quiet --disable-pip-version-check --requirement "$wanted"
  cp "$wanted" "$work/installed.txt"
fi
${CMAKE:-cmake} --log-level=WARNING -S . -B "$build" -DENCKE_EXAMPLES=ON
${CMAKE:-cmake} --build "$build" --parallel 2 --target testbed
library=$(cd "$build" && pwd)
${CC:-cc} -std=c11 -O1 -Wall -Wextra -Iinclude conformance/answers.c -o "$work/answers" -L"$library" -lencke -Wl,-rpath,"$library"
sh cmake/certificate.sh "$work/state"
cp "$work/state/certificate.pem" "$work/state/cert.pem" # the name that testbed looks for
exec "$work/python/bin/python" -B conformance/run.py "$build" "$work" "$@"
