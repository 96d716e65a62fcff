#!/bin/sh
# Builds the proof against an installed library and runs a part of it.
#   run.sh quick PREFIX WORKDIR     the short forms, as `make test` has them, against the library installed there
#   run.sh faults | attacks [SECONDS [NAME]] | soak SECONDS [stalled] | model | miri [NAME] | sanitize
#                                   builds and installs the library under WORK (build/proof) first, where that is needed
# Rule: what is not possible here says "skipped"; everything else passes or fails.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/.." && pwd)
part=${1:?usage: run.sh quick PREFIX WORKDIR, or run.sh faults|attacks|soak|model|miri|sanitize}
shift

build_programs() { # build_programs PREFIX WORKDIR
  mkdir -p "$2"
  if ! { cmake -S "$here" -B "$2" -DCMAKE_PREFIX_PATH="$1" > "$2/build.log" 2>&1 && cmake --build "$2" --parallel 2 >> "$2/build.log" 2>&1; }; then
    tail -n 30 "$2/build.log"
    echo "FAILED: the proof does not build"
    exit 1
  fi
}

if [ "$part" = quick ]; then
  prefix=$(cd "${1:?}" && pwd) work=${2:?}
  build_programs "$prefix" "$work"
  failed=0
  for program in "faults quick" nomem "attacks quick" "stress 100" "soak 3 quick"; do
    # shellcheck disable=SC2086 # a program and its arguments
    "$work"/$program > "$work/last.log" 2>&1 || {
      code=$?
      [ $code = 77 ] || {
        failed=$((failed + 1))
        cat "$work/last.log"
        echo "FAILED: $program"
        continue
      }
    }
    tail -n 1 "$work/last.log"
  done
  [ $failed = 0 ]
  exit
fi

work=${WORK:-$root/build/proof}
mkdir -p "$work" && work=$(cd "$work" && pwd)

library() {
  cmake -S "$root" -B "$work/library" -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$work/stage" -DENCKE_EXAMPLES=OFF -DENCKE_TESTS=OFF \
    > "$work/library.log" 2>&1 &&
    cmake --build "$work/library" --parallel 2 >> "$work/library.log" 2>&1 &&
    cmake --install "$work/library" >> "$work/library.log" 2>&1 || {
    tail -n 30 "$work/library.log"
    echo "FAILED: the library does not build"
    exit 1
  }
  build_programs "$work/stage" "$work/programs"
}

# passed PROGRAM ARGUMENT...: 77 is "not possible here"
passed() {
  "$@" || { code=$?; [ $code = 77 ] || exit $code; }
}

case $part in
  faults)
    library
    passed "$work/programs/faults" all
    passed "$work/programs/nomem" survey
    ;;
  attacks)
    library
    passed "$work/programs/attacks" "${1:-5}" ${2+"$2"}
    ;;
  soak)
    library
    passed "$work/programs/soak" "${1:-120}" ${2:+"$2"}
    ;;
  model)
    RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR="$work/wake-model" cargo run --quiet --release --locked --manifest-path "$here/wake-model/Cargo.toml"
    ;;
  miri)
    cargo +nightly miri --version > /dev/null 2>&1 || {
      echo "miri: skipped, it is not here (rustup component add --toolchain nightly miri rust-src)"
      exit 0
    }
    # Every unit test of the library. Those that try very many cases try few here (`every` in src/lib.rs); what needs sockets or
    # directories says "ignored".
    cd "$root"
    CARGO_TARGET_DIR="$work/miri" MIRIFLAGS="-Zmiri-disable-isolation ${MIRIFLAGS:-}" \
      cargo +nightly miri test --lib --locked --no-default-features --features push,mounts,links -- ${1+"$1"}
    echo "miri: passed"
    ;;
  sanitize)
    sh "$here/sanitize.sh" thread "$work/thread"
    sh "$here/sanitize.sh" address "$work/address"
    ;;
  *)
    echo "run.sh: no part called $part" >&2
    exit 2
    ;;
esac
