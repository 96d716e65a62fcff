#!/bin/sh
# The whole C side: every test against the installed library, shared and static, by gcc and by clang, under sanitizers and
# valgrind (where these are found), the header alone, and the library used in every way a C program may.
#   run.sh PREFIX [WORKDIR]
# The first compiler's tests run over TLS too, the others' hardly. The library itself is not instrumented: the sanitizers watch the host's side of the API.
# shellcheck disable=SC2046,SC2086 # flags and wrappers are lists of words
set -u
prefix=$(cd "${1:?usage: run.sh PREFIX [WORKDIR]}" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
work=${2:-$(mktemp -d)}
mkdir -p "$work" && work=$(cd "$work" && pwd)
jobs=${ENCKE_TEST_JOBS:-2}
passed=0 failed=0

count() { # count PASSED FAILED
  passed=$((passed + $1))
  failed=$((failed + $2))
}

# configure_and_build NAME [-D...]: false if that failed, which counts as one failure
configure_and_build() {
  name=$1
  shift
  if cmake -S "$here" -B "$work/$name" -DCMAKE_PREFIX_PATH="$prefix" "$@" > "$work/$name.log" 2>&1 &&
    cmake --build "$work/$name" --parallel "$jobs" >> "$work/$name.log" 2>&1; then
    sed -n "s/^-- \(.*tests of TLS are left out.*\)/$name: \1/p" "$work/$name.log"
    return 0
  fi
  echo "FAILED $name: does not build"
  tail -n 30 "$work/$name.log" | sed 's/^/    /'
  count 0 1
  return 1
}

# run_tests NAME [WRAPPER...]: ctest of what was built
run_tests() {
  name=$1
  shift
  "$@" ctest --test-dir "$work/$name" --output-on-failure --parallel "$jobs" > "$work/$name.ctest" 2>&1
  summary=$(grep -o '[0-9]* tests failed out of [0-9]*' "$work/$name.ctest")
  bad=${summary%% *} all=${summary##* }
  if [ -z "$summary" ]; then bad=1 all=1; fi
  [ "$bad" = 0 ] || sed -n '/^ *[0-9]*\/[0-9]* Test.*\*\*\*/,/^ *Start/p' "$work/$name.ctest" | cut -c 1-300 | head -n 150
  echo "$name: $((all - bad)) passed, $bad failed"
  count $((all - bad)) "$bad"
}

# run_script NAME SCRIPT ARGUMENT...: a script whose last line is "name: N passed, N failed"
run_script() {
  name=$1
  shift
  sh "$@" 2>&1 | tee "$work/$name.log"
  last=$(tail -n 1 "$work/$name.log" | sed -n 's/^[a-z]*: \([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p')
  if [ -n "$last" ]; then count $last; else count 0 1; fi
}

works() { # works COMPILER FLAG: a program built with that sanitizer runs here
  printf 'int main(void) { return 0; }\n' > "$work/try.c"
  "$1" "$2" "$work/try.c" -o "$work/try" > /dev/null 2>&1 && $same_addresses "$work/try" > /dev/null 2>&1
}

# ThreadSanitizer needs an address space without much randomness.
same_addresses=
if setarch "$(uname -m)" -R true > /dev/null 2>&1; then same_addresses="setarch $(uname -m) -R"; fi

run_script header "$here/header/run.sh" "$prefix/include"

for compiler in gcc clang; do
  command -v $compiler > /dev/null || { echo "$compiler: not here"; continue; }
  if [ $compiler = gcc ]; then kinds="shared;static" over_tls=all; else kinds=shared over_tls=; fi
  configure_and_build $compiler -DCMAKE_C_COMPILER=$compiler -DCMAKE_BUILD_TYPE=RelWithDebInfo "-DENCKE_TEST_KINDS=$kinds" \
    "-DENCKE_TEST_OVER_TLS=$over_tls" && run_tests $compiler
done

if works cc -fsanitize=address,undefined; then
  configure_and_build address -DENCKE_TEST_KINDS=static -DENCKE_TEST_SANITIZE=address,undefined \
    "-DENCKE_TEST_OVER_TLS=leave;borrow;stream;tunnel;sender_free;threads_stress" &&
    ENCKE_TEST_DEADLINE=30 ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:quarantine_size_mb=16 run_tests address
else
  echo "address: no AddressSanitizer here"
fi

# The library's own synchronisation is invisible to ThreadSanitizer: what its code (free, memcpy) does to memory is not
# looked at, what the tests' threads do is.
if works cc -fsanitize=thread; then
  configure_and_build thread -DENCKE_TEST_KINDS=shared -DENCKE_TEST_SANITIZE=thread \
    "-DENCKE_TEST_ONLY=sender_threads;sender_free;threads_stress;order;handover;tls_reload" "-DENCKE_TEST_OVER_TLS=threads_stress;order" &&
    ENCKE_TEST_DEADLINE=30 TSAN_OPTIONS=ignore_noninstrumented_modules=1:halt_on_error=1 run_tests thread $same_addresses
else
  echo "thread: no ThreadSanitizer here"
fi

# Over TLS valgrind does not ask what is initialised: it does not understand the assembly that computes a record's tag.
if command -v valgrind > /dev/null && [ -x "$work/gcc/t_leases_shared" ]; then
  good=0 bad=0
  for name in leases sender_free handover order http10 param token drain config expect random tls_end; do
    case $name in tls_*) undefined=no ;; *) undefined=yes ;; esac
    [ -x "$work/gcc/t_${name}_shared" ] || continue # without OpenSSL
    if ENCKE_TEST_DEADLINE=50 ENCKE_TEST_CLIENTS=300 timeout 120 valgrind --quiet --error-exitcode=99 --leak-check=full \
      --errors-for-leak-kinds=definite --undef-value-errors=$undefined "$work/gcc/t_${name}_shared" > "$work/valgrind_$name.log" 2>&1; then
      good=$((good + 1))
    else
      bad=$((bad + 1))
      echo "FAILED valgrind: $name"
      tail -n 40 "$work/valgrind_$name.log" | sed 's/^/    /'
    fi
  done
  echo "valgrind: $good passed, $bad failed"
  count $good $bad
else
  echo "valgrind: not here"
fi

run_script consume "$here/consume/run.sh" "$prefix" "$here/.." "$work/consume"

echo "$passed passed, $failed failed"
[ $failed = 0 ]
