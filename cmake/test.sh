#!/bin/sh
# test.sh = `make test`: every test, cheapest first, stopping at the first that fails.
# Rule: the C tests see only what `cmake --install` put into a staging prefix, as a user's build would.
set -eu
cd "$(dirname "$0")/.."
build=${BUILD:-build}/test
stage=$PWD/$build/stage
started=$(date +%s)
steps=0

step() {
  steps=$((steps + 1))
  printf '\n==== %d. %s (after %d s)\n' $steps "$1" $(($(date +%s) - started))
}
trap 'code=$?; [ $code = 0 ] || printf "\nmake test: FAILED in step %d (after %d s)\n" $steps $(($(date +%s) - started))' EXIT

step "tools"
sh cmake/need.sh rust gcc:gcc g++:g++ libc6-dev clang:clang cmake:cmake pkg-config:pkg-config curl:curl openssl:openssl python3:python3 valgrind:valgrind libc6-dbg \
  libglib2.0-dev libuv1-dev libevent-dev libsystemd-dev libssl-dev
for tool in fmt clippy; do
  cargo $tool --version > /dev/null 2>&1 || {
    echo "cargo $tool is missing: rustup component add rustfmt clippy (Debian: rustfmt, rust-clippy)" >&2
    exit 1
  }
done

step "format: cargo fmt"
cargo fmt --check

step "lint: cargo clippy"
cargo clippy --all-targets --locked -- -D warnings
cargo clippy --no-default-features --lib --locked -- -D warnings

step "Rust tests, and the header against the sources: cargo test"
cargo test --locked

step "build: cmake"
cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$stage" -DENCKE_EXAMPLES=ON -DENCKE_TESTS=ON
cmake --build "$build" --parallel 2

step "the libraries as built: ctest"
cmake --build "$build" --target check

step "install into a staging prefix"
rm -rf "$stage"
cmake --install "$build" --strip > "$build/install.log" || { cat "$build/install.log"; exit 1; }

step "the programs of the message bus"
timeout 300 sh tools/test.sh "$stage"

step "the programs in the documents"
sh docs/check-readme.sh "$stage"

step "curl and the example programs of server push"
sh tests/clients/run.sh "$build/c-examples" "$build/clients" curl

package_says() { # package_says PREFIX ON|OFF
  rm -rf "$build/check-package"
  PKG_CONFIG_PATH=$(dirname "$(find "$1" -name encke.pc)") \
    cmake -S cmake/check-package -B "$build/check-package" -DCMAKE_PREFIX_PATH="$1" -DTLS="$2" > "$build/check-package.log" 2>&1 ||
    { cat "$build/check-package.log"; exit 1; }
}

# other NAME TARGET [-D...]: another choice of what is built in. Only whether it is right is looked at, so cargo may hurry.
other() (
  name=$1 target=$2
  shift 2
  export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
  cmake -S . -B "$build/$name" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_INSTALL_PREFIX="$PWD/$build/$name/stage" "$@"
  cmake --build "$build/$name" --parallel 2 --target "$target"
)

step "the build without TLS and without push"
other no-tls check -DENCKE_TLS=OFF -DENCKE_PUSH=OFF -DENCKE_EXAMPLES=OFF
cmake --install "$build/no-tls" > "$build/install.log" || { cat "$build/install.log"; exit 1; }
package_says "$PWD/$build/no-tls/stage" OFF
cmake -S c-tests -B "$build/no-tls/c-tests" -DCMAKE_PREFIX_PATH="$PWD/$build/no-tls/stage" -DENCKE_TEST_KINDS=shared \
  "-DENCKE_TEST_ONLY=tls_without;push_without;bus_without;simple;pipeline;stream" > "$build/no-tls/c-tests.log"
cmake --build "$build/no-tls/c-tests" --parallel 2 >> "$build/no-tls/c-tests.log"
ctest --test-dir "$build/no-tls/c-tests" --output-on-failure
package_says "$stage" ON

step "the build without mounts and links"
other no-bus all -DENCKE_TLS=OFF -DENCKE_MOUNTS=OFF -DENCKE_LINKS=OFF -DENCKE_EXAMPLES=OFF -DENCKE_TOOLS=OFF
cmake --install "$build/no-bus" > "$build/install.log" || { cat "$build/install.log"; exit 1; }
cmake -S c-tests -B "$build/no-bus/c-tests" -DCMAKE_PREFIX_PATH="$PWD/$build/no-bus/stage" -DENCKE_TEST_KINDS=shared \
  "-DENCKE_TEST_ONLY=bus_without;tls_without;channels" > "$build/no-bus/c-tests.log"
cmake --build "$build/no-bus/c-tests" --parallel 2 >> "$build/no-bus/c-tests.log"
ctest --test-dir "$build/no-bus/c-tests" --output-on-failure

step "the build with aws-lc"
other aws-lc all -DENCKE_TLS_PROVIDER=aws-lc -DBUILD_SHARED_LIBS=OFF
ctest --test-dir "$build/aws-lc" --output-on-failure -R https_examples

step "failures, attacks, threads and load on the installed package, in short"
sh proof/run.sh quick "$stage" "$PWD/$build/proof"

step "the corpora of the fuzzers"
cargo test --quiet --locked --manifest-path fuzz/Cargo.toml --target-dir target/fuzz/replay --test replay

step "C tests on the installed package"
sh c-tests/run.sh "$stage" "$PWD/$build/c-tests"

printf '\nmake test: all %d steps passed in %d s\n' $steps $(($(date +%s) - started))
