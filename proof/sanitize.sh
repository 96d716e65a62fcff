#!/bin/sh
# The library itself under a sanitizer, not only the tests: built by a nightly Rust with that sanitizer, and linked with the
# C tests and the stress program.
#   sanitize.sh thread|address WORKDIR
# Rule: says "skipped" where the tools are not there; a report of the sanitizer is a failure.
set -u
here=$(cd "$(dirname "$0")" && pwd)
kind=${1:?usage: sanitize.sh thread|address WORKDIR}
work=${2:?usage: sanitize.sh thread|address WORKDIR}
mkdir -p "$work" && work=$(cd "$work" && pwd)
target=$(rustc -vV | sed -n 's/^host: //p')
passed=0 failed=0

skip() {
  echo "sanitize $kind: skipped, $1"
  exit 0
}
rustup run nightly rustc --version > /dev/null 2>&1 || skip "no nightly Rust (rustup toolchain install nightly)"
runtime=$(rustc +nightly --print sysroot)/lib/rustlib/$target/lib
case $kind in
  thread) runtime=$runtime/librustc-nightly_rt.tsan.a ;;
  address) runtime=$runtime/librustc-nightly_rt.asan.a ;;
  *) echo "sanitize.sh: thread or address" >&2; exit 2 ;;
esac
[ -f "$runtime" ] || skip "the nightly Rust has no runtime for it"
# The compiler instruments the tests; the runtime is Rust's, which is the newer of the two.
printf 'int main(void) { return 0; }\n' > "$work/try.c"
cc -fsanitize="$kind" -c "$work/try.c" -o "$work/try.o" 2> /dev/null || skip "the C compiler has no $kind sanitizer"
same_addresses=
if setarch "$(uname -m)" -R true > /dev/null 2>&1; then same_addresses="setarch $(uname -m) -R"; fi

# The standard library comes as it is: without its sources it cannot be built again. What only it knows of (the counts of
# an Arc, a Once) is named in suppressions.txt.
(cd "$here/.." && RUSTFLAGS="-Zsanitizer=$kind -Cunsafe-allow-abi-mismatch=sanitizer -Cdebuginfo=1 -Cforce-frame-pointers=yes" \
  CARGO_TARGET_DIR="$work/target" cargo +nightly rustc --lib --crate-type staticlib --release --locked --no-default-features --features push,mounts,links \
  --target "$target" --config profile.release.lto=false --config profile.release.codegen-units=4) > "$work/build.log" 2>&1 || {
  tail -n 20 "$work/build.log"
  echo "FAILED: the library does not build"
  exit 1
}
library=$work/target/$target/release/libencke.a
c_tests=$here/../c-tests
flags="-fsanitize=$kind -std=gnu11 -D_GNU_SOURCE -DENCKE_STATIC -g -O1 -fno-omit-frame-pointer -I$here/../include"
mkdir -p "$work/harness"
for part in check host peer responses rounds no_tls; do
  # shellcheck disable=SC2086 # a list of words
  cc $flags -c "$c_tests/$part.c" -o "$work/harness/$part.o" || exit 1
done

# run NAME SOURCE [ARGUMENT...]
run() {
  name=$1 source=$2
  shift 2
  # shellcheck disable=SC2086 # lists of words
  if cc $flags -c "$source" -o "$work/$name.o" > "$work/$name.log" 2>&1 &&
    cc -pie "$work/$name.o" "$work"/harness/*.o "$library" -Wl,--whole-archive "$runtime" -Wl,--no-whole-archive -Wl,--export-dynamic \
      -lpthread -ldl -lm -lrt -o "$work/$name" >> "$work/$name.log" 2>&1 &&
    ENCKE_TEST_DEADLINE=60 TSAN_OPTIONS="halt_on_error=1 suppressions=$here/suppressions.txt" ASAN_OPTIONS="detect_leaks=1:quarantine_size_mb=16" \
      timeout 600 $same_addresses "$work/$name" "$@" >> "$work/$name.log" 2>&1; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: $name"
    grep -v '/rustc/' "$work/$name.log" | head -n 40 | cut -c 1-180 | sed 's/^/    /'
  fi
}

if [ "$kind" = thread ]; then
  tests="sender_threads sender_free threads_stress order handover wake promises"
else
  tests="pipeline watch_each leave leases split http10 bad body expect stream borrow tunnel limits fd_truth sender_threads sender_free
    threads_stress wake sigpipe emfile listeners drain config simple stats token hosts random order handover bounds promises patience last_words"
fi
run stress "$here/threads/stress.c" "${STRESS_ROUNDS:-60}"
for test in $tests; do run "$test" "$c_tests/$test.c"; done
echo "sanitize $kind: $passed passed, $failed failed"
[ $failed = 0 ]
