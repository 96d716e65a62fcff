#!/bin/sh
# Plants one bug at a time in the engine and lets the simulation look for it: every file of proof/mutants is a patch, with
# one line in front that says what is wrong then.
#   mutants.sh WORKDIR [SEEDS [NAME...]]
# Rules: the unchanged engine must pass first; a patch that does not apply, or does not build, is an error of this script's
# and not a bug found; a run without an end counts as found.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
work=${1:?usage: mutants.sh WORKDIR [SEEDS [NAME...]]}
seeds=${2:-2000}
shift
[ $# = 0 ] || shift
mkdir -p "$work" && work=$(cd "$work" && pwd)
# With OPTIMIZE=0 it builds faster and looks slower: better for few seeds.
# Seconds that the seeds of one bug may take; later, many times what the unchanged engine needs.
patience=${PATIENCE:-900}
tree=$work/tree

# The engine and what lies below it, as a crate of its own: nothing else is built for each bug.
fresh_tree() {
  mkdir -p "$tree"
  rm -rf "${tree:?}/src"
  # Files that did not change keep their time.
  cp -pR "$root/src" "$tree/src"
  sed -e '/^#\[cfg(feature = "tls")\]/,/^pub mod tls;/d' -e '/^#\[cfg_attr(not(feature = "links")/,/^pub mod link;/d' -e '/^pub mod capi;/d' -e '/^pub mod io;/d' "$root/src/lib.rs" > "$work/lib.rs"
  sed -e '/^\[dev-dependencies\]/,/^$/d' -e 's/^crate-type.*/crate-type = ["rlib"]/' -e '/^readme/d' "$root/Cargo.toml" > "$work/manifest"
  touch -r "$root/src/lib.rs" "$work/lib.rs"
  cp -p "$work/lib.rs" "$tree/src/lib.rs"
  cmp -s "$work/manifest" "$tree/Cargo.toml" || { cp "$work/manifest" "$tree/Cargo.toml" && cp "$root/Cargo.lock" "$tree/Cargo.lock"; }
}

build() { # build: the path of the test program in $program
  (cd "$tree" && CARGO_TARGET_DIR="$work/target" CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_TEST_DEBUG=0 CARGO_PROFILE_TEST_OPT_LEVEL="${OPTIMIZE:-1}" RUSTFLAGS=-Adead_code \
    cargo test --lib --no-run --no-default-features --features push --message-format=json) > "$work/build.json" 2> "$work/build.log" || {
    tail -n 30 "$work/build.log"
    return 1
  }
  program=$(sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' "$work/build.json" | tail -n 1)
  [ -n "$program" ]
}

simulate() { # simulate SEEDS: 0 when nothing was found
  ENCKE_SIM_SEEDS=$1 ENCKE_SIM_FIRST=1 timeout "$patience" "$program" engine::tests::simulation --exact --nocapture > "$work/run.log" 2>&1
}

fresh_tree
# A run that was interrupted has left a program with a bug in it.
rm -rf "$work"/target/debug/.fingerprint/encke-*
build || { echo "FAILED: the engine does not build"; exit 1; }
before=$(date +%s)
simulate "$seeds" || {
  tail -n 20 "$work/run.log"
  echo "FAILED: the simulation does not pass without a planted bug"
  exit 1
}
quiet=$(($(date +%s) - before))
patience=${PATIENCE:-$((60 + 5 * quiet))}
echo "no bug planted: $seeds seeds pass in $quiet s"
printf '%-22s %-10s %7s %10s  %s\n' planted 'found' seconds 'first seed' 'what is wrong'
if [ $# = 0 ]; then
  set -- "$root"/proof/mutants/*.patch
fi
planted=0 found=0 errors=0 spent=0
for patch in "$@"; do
  name=$(basename "$patch" .patch)
  patch=$root/proof/mutants/$name.patch
  what=$(head -n 1 "$patch")
  fresh_tree
  if ! patch -s -p1 -F1 -d "$tree" < "$patch" > "$work/patch.log" 2>&1; then
    echo "$name: ERROR: the patch does not apply any more"
    sed 's/^/  /' "$work/patch.log"
    errors=$((errors + 1))
    continue
  fi
  if ! build; then
    echo "$name: ERROR: it does not build"
    errors=$((errors + 1))
    continue
  fi
  planted=$((planted + 1))
  before=$(date +%s)
  simulate "$seeds"
  code=$?
  seconds=$(($(date +%s) - before))
  spent=$((spent + seconds))
  # Several may have been under way when the first failed.
  seed=$(sed -n 's/.*ENCKE_SIM_SEED=\([0-9]*\).*/\1/p' "$work/run.log" | sort -n | head -n 1)
  if [ $code = 0 ]; then
    verdict='not found'
  else
    verdict=found
    found=$((found + 1))
    [ $code != 124 ] || seed='no end'
  fi
  printf '%-22s %-10s %7s %10s  %s\n' "$name" "$verdict" "$seconds" "${seed:--}" "$what"
done
echo "found $found of $planted planted bugs, $spent s of simulation (builds not counted); $errors errors"
[ $errors = 0 ] && [ $((planted - found)) -le $((planted / 20)) ]
