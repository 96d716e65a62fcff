#!/bin/sh
# run.sh = `make fuzz` and `make fuzz-coverage`: fuzzes with libFuzzer, on a stable compiler.
#   run.sh fuzz SECONDS [TARGET]    every target, or one, for so long each; stops at the first finding
#   run.sh minimize TARGET FILE     makes a finding smaller, into fuzz/regressions/TARGET
#   run.sh merge TARGET DIR         puts into fuzz/corpus/TARGET the fewest files of DIR and of those found before that reach,
#                                   beside the hand-made ones, what all of them reach; 250 at the most
#   run.sh coverage                 which lines of src/ the corpora reach
# SANITIZE=address adds AddressSanitizer; that alone needs what only nightly compilers offer officially.
# Rule: needs Rust, a C++ compiler (libFuzzer is compiled from libfuzzer-sys) and nothing of a nightly compiler; what it
# makes lies below target/fuzz, but for what `minimize` and `merge` are asked for.
set -eu
cd "$(dirname "$0")/.."
targets="http1 engine response tls certificates push channels link mounts"
work=${CARGO_TARGET_DIR:-$PWD/target}/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')

usage() {
  sed -n 's/^#   //p' "$0" >&2
  exit 2
}

known() {
  case " $targets " in *" $1 "*) ;; *) echo "no such target: $1 (there are: $targets)" >&2; exit 2 ;; esac
}

# The programs. The flags are those that cargo-fuzz passes. With --target they reach neither build scripts nor macros.
build() {
  sh cmake/need.sh rust g++:c++ libc6-dev
  flags="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-pc-table"
  flags="$flags -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-trace-compares"
  # One branch, one edge; and one unit, so that all of them are seen.
  flags="$flags -Cllvm-args=-simplifycfg-branch-fold-threshold=0 -Ccodegen-units=1"
  kind=plain
  if [ -n "${SANITIZE:-}" ]; then
    flags="$flags -Zsanitizer=$SANITIZE" kind=$SANITIZE
    export RUSTC_BOOTSTRAP=1
  fi
  RUSTFLAGS="$flags" cargo build --quiet --locked --release --features libfuzzer --manifest-path fuzz/Cargo.toml \
    --target "$host" --target-dir "$work/$kind" --bins
  bin=$work/$kind/$host/release
}

options() {
  echo "-timeout=20 -rss_limit_mb=2048 -malloc_limit_mb=512 -print_final_stats=1 -use_value_profile=0"
  case $1 in
    http1) echo "-dict=fuzz/http.dict -max_len=2000" ;;
    engine) echo "-dict=fuzz/http.dict -max_len=1200" ;;
    response) echo "-dict=fuzz/http.dict -max_len=800" ;;
    push) echo "-max_len=2000" ;;
    channels) echo "-max_len=1000" ;;
    link) echo "-dict=fuzz/http.dict -max_len=3000" ;;
    mounts) echo "-dict=fuzz/http.dict -max_len=1000" ;;
    tls) echo "-dict=fuzz/tls.dict -max_len=3000" ;;
    certificates) echo "-dict=fuzz/pem.dict -max_len=3000" ;;
  esac
}

fuzz() {
  seconds=$1
  for target in $2; do
    corpus=$work/corpus/$target findings=$work/findings/$target log=$work/$target.log
    mkdir -p "$corpus" "$findings" "fuzz/regressions/$target"
    printf '== fuzz %s for %s s\n' "$target" "$seconds"
    # shellcheck disable=SC2046
    if "$bin/$target" $(options "$target") -max_total_time="$seconds" -artifact_prefix="$findings/" \
      "$corpus" "fuzz/corpus/$target" "fuzz/regressions/$target" > "$log" 2>&1; then
      sed -n 's/^#\([0-9]*\)[[:space:]]*DONE \(.*\)$/   \1 inputs, \2/p' "$log"
    else
      grep -A 8 -e 'panicked at' -e 'ERROR: ' "$log" | grep -v -e '^stack' -e '^ *[0-9]*: ' -e '^ *at ' | head -n 30
      found=$(sed -n "s/.*Test unit written to //p" "$log" | tail -n 1)
      echo "fuzz $target: FOUND ${found:-nothing saved, see $log}" >&2
      echo "  again:   $bin/$target ${found:-FILE}" >&2
      echo "  smaller: sh fuzz/run.sh minimize $target ${found:-FILE}" >&2
      exit 1
    fi
  done
}

minimize() {
  mkdir -p "fuzz/regressions/$1"
  small=fuzz/regressions/$1/$(sha1sum "$2" | cut -c1-12)
  "$bin/$1" -minimize_crash=1 -max_total_time=60 -timeout=20 -exact_artifact_path="$small" "$2" > "$work/minimize.log" 2>&1 || true
  [ -f "$small" ] || cp "$2" "$small"
  echo "$small: $(wc -c < "$small") bytes (from $(wc -c < "$2"))"
}

# What was found has its hash for a name, 40 characters. Branches count, not how often they are taken: that would be thousands.
# Whoever reaches most that is new is chosen, and written, first.
found='????????????????????????????????????????'
most=250

merge() {
  corpus=fuzz/corpus/$1 new=$work/merged/$1
  rm -rf "$new" && mkdir -p "$new"
  find "$corpus" -type f ! -name "$found" -exec cp {} "$new" ';'
  # shellcheck disable=SC2046
  "$bin/$1" $(options "$1") -set_cover_merge=1 -use_counters=0 "$new" "$corpus" "$2" > "$work/merge.log" 2>&1 || { tail "$work/merge.log"; exit 1; }
  find "$corpus" -type f -name "$found" -exec rm {} ';'
  # shellcheck disable=SC2012 # their names are hashes
  (cd "$new" && ls -tr $found 2> /dev/null | head -n "$most") | while read -r file; do cp "$new/$file" "$corpus"; done
  echo "$corpus: $(find "$corpus" -type f | wc -l) files, $(cat "$corpus"/* | wc -c) bytes"
}

# The tools must be as new as the compiler's own LLVM: those of the toolchain, or the system's of the same number.
coverage() {
  llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
  tools=$(rustc --print sysroot)/lib/rustlib/$host/bin
  if [ -x "$tools/llvm-cov" ]; then
    cov=$tools/llvm-cov profdata=$tools/llvm-profdata
  else
    sh cmake/need.sh rust "llvm-$llvm:llvm-cov-$llvm"
    cov=llvm-cov-$llvm profdata=llvm-profdata-$llvm
  fi
  out=$work/coverage
  mkdir -p "$out"
  rm -f "$out"/*.profraw
  LLVM_PROFILE_FILE="$out/%p-%m.profraw" RUSTFLAGS="-Cinstrument-coverage" cargo test --quiet --locked \
    --manifest-path fuzz/Cargo.toml --target "$host" --target-dir "$out/build" --test replay
  program=$(find "$out/build/$host/debug/deps" -name 'replay-*' -type f -perm -u+x | head -n 1)
  "$profdata" merge -sparse "$out"/*.profraw -o "$out/profile"
  "$cov" report "$program" -instr-profile="$out/profile" src/http1 src/engine src/tls src/push src/ws src/link src/mounts \
    -ignore-filename-regex='tests?(/|\.rs)' -show-region-summary=false -show-branch-summary=false
  "$cov" show "$program" -instr-profile="$out/profile" src/http1 src/engine src/tls src/push src/ws src/link src/mounts -format=html \
    -ignore-filename-regex='tests?(/|\.rs)' -output-dir="$out/html" > /dev/null
  echo "line by line: $out/html/index.html"
}

[ $# -ge 1 ] || usage
case $1 in
  fuzz)
    [ $# -ge 2 ] || usage
    [ -z "${3:-}" ] || known "$3"
    build
    fuzz "$2" "${3:-$targets}"
    ;;
  minimize | merge)
    [ $# = 3 ] || usage
    known "$2"
    build
    "$1" "$2" "$3"
    ;;
  coverage) coverage ;;
  *) usage ;;
esac
