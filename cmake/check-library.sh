#!/bin/sh
# check-library.sh: what a distribution's reviewer would look for in a finished library.
#   NM= READELF= STRIP= MAP= SOURCE= CONFIG= LIMIT= check-library.sh shared <file> <soname> | static <file>
# LIMIT: bytes that the stripped shared library may have, unless it has debug information; 0: none is set.
set -eu
kind=$1 file=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0
fail() { echo "FAIL: $*"; bad=1; }

# Exactly the functions of the symbol map, in both libraries.
sed -n 's/^ *\(encke_[a-z0-9_]*\);$/\1/p' "$MAP" | sort > "$work/listed"
if [ "$kind" = shared ]; then
  "$NM" -D --defined-only "$file" | awk '$2 != "A" { print $3 }' | sort > "$work/versioned"
  sed 's/@.*//' "$work/versioned" > "$work/found"
  unversioned=$(grep -v '@@ENCKE_' "$work/versioned" || true)
  [ -z "$unversioned" ] || fail "exported without a version: $unversioned"
else
  "$NM" -g --defined-only "$file" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort > "$work/found"
fi
diff "$work/listed" "$work/found" || fail "exports differ (< symbol map, > library)"

if [ "$kind" = shared ]; then
  "$READELF" -dW "$file" > "$work/dynamic"
  grep -q "SONAME.*\[$3\]" "$work/dynamic" || fail "soname is not $3"
  for lib in $(sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' "$work/dynamic"); do
    case $lib in
      libc.so*|libm.so*|libgcc_s.so*|ld-linux*|ld64.so*|libpthread.so*|libdl.so*|librt.so*|libutil.so*) ;;
      *) fail "needs $lib" ;;
    esac
  done
  if grep -E 'RPATH|RUNPATH' "$work/dynamic"; then fail "carries a run path"; fi
  if grep -q TEXTREL "$work/dynamic"; then fail "has text relocations"; fi
  grep -qE 'BIND_NOW|FLAGS.*NOW' "$work/dynamic" || fail "not linked with -z now"
  "$READELF" -lW "$file" > "$work/segments"
  grep -q GNU_RELRO "$work/segments" || fail "no RELRO segment"
  if grep GNU_STACK "$work/segments" | grep -q 'RWE'; then fail "executable stack"; fi
  if [ "$CONFIG" != Debug ] && [ "$CONFIG" != RelWithDebInfo ]; then
    "$STRIP" -o "$work/stripped" "$file"
    size=$(wc -c < "$work/stripped")
    echo "stripped: $size bytes"
    [ "$LIMIT" = 0 ] || [ "$size" -le "$LIMIT" ] || fail "more than $LIMIT bytes"
  fi
fi

# No path of the machine it was built on.
for path in "$SOURCE/src/" "${CARGO_HOME:-$HOME/.cargo}/registry"; do
  if grep -qaF "$path" "$file"; then fail "contains the build path $path"; fi
done

[ $bad = 0 ] && echo "$kind library: $(wc -l < "$work/found") functions, all as listed"
exit $bad
