#!/bin/sh
# check-readme.sh PREFIX: compiles every ```c block of README.md and docs/*.md against the encke installed under PREFIX.
# Rule: no C in a document is unchecked, and no name is made up. The line before a block says what it is:
#   <!-- c: complete NAME [run] -->   a whole program: compiled and linked in each documented way; run: started, and asked once
#   <!-- c: file [declarations] -->   declarations and functions, compiled behind the prelude below
#   <!-- c: body [declarations] -->   statements, compiled as the body of a function of the host
set -eu
[ $# = 1 ] || { echo "usage: check-readme.sh PREFIX" >&2; exit 2; }
prefix=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
work=$(mktemp -d "${TMPDIR:-/tmp}/encke-readme.XXXXXX")
server=
cleanup() {
  [ -z "$server" ] || kill "$server" 2> /dev/null || :
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

fail() {
  echo "check-readme: $*" >&2
  exit 1
}

pc=$(find "$prefix" -name encke.pc | head -n 1)
[ -n "$pc" ] || fail "no encke.pc under $prefix"
PKG_CONFIG_PATH=$(dirname "$pc")${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
export PKG_CONFIG_PATH
libdir=$(dirname "$(dirname "$pc")")
: "${CC:=cc}"
strict="-Wall -Wextra -Wpedantic -Werror"
# A part may leave unused what the whole would use.
part="$strict -Wno-unused-parameter -Wno-unused-variable -Wno-unused-but-set-variable -Wno-unused-function"

cat > "$work/prelude.h" << 'END'
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>
#include <encke.h>
void die(const char *);
void handle(const encke_event *);
void on_request(encke_id, const encke_head *);
void serve(encke *);
void store(encke_id, const void *, size_t);
void release(void *);
void my_loop_watch(encke_fd_t, uint32_t);
int my_loop_wait(int, encke_watch *);
encke_tls *load(void);
END

documents=$(find README.md docs -name "*.md" | sort)

# One file per block, with #line so that the compiler names the document. The names of complete ones go into "complete".
: > "$work/complete"
# shellcheck disable=SC2086
awk -v work="$work" '
  function finish() { if (kind == "body") print "}" > out; close(out) }
  /^<!-- c: / { marker = $0; sub(/^<!-- c: /, "", marker); sub(/ *-->$/, "", marker); next }
  !inside && /^```c$/ {
    if (marker == "") { printf "%s:%d: a C block without a marker\n", FILENAME, FNR > "/dev/stderr"; bad = 1; exit }
    inside = 1; count++
    split(marker, word, " "); kind = word[1]
    rest = marker; sub(/^[a-z]+ */, "", rest)
    if (kind == "complete") {
      out = work "/" word[2] ".c"
      print word[2], word[3] >> (work "/complete")
    } else if (kind == "file" || kind == "body") {
      out = sprintf("%s/part%02d.c", work, count)
      print "#include \"prelude.h\"" > out
      if (kind == "body") {
        print "void part(encke *e, encke_sender *sender, encke_event ev, encke_id id, const encke_head *head);" > out
        print "void part(encke *e, encke_sender *sender, encke_event ev, encke_id id, const encke_head *head) {" > out
      }
      print rest > out
    } else { printf "%s:%d: unknown marker %s\n", FILENAME, FNR, kind > "/dev/stderr"; bad = 1; exit }
    printf "#line %d \"%s\"\n", FNR + 1, FILENAME > out
    next
  }
  inside && /^```$/ { finish(); inside = 0; marker = ""; next }
  inside { print > out; next }
  NF { marker = "" }
  END { if (bad) exit 1; if (inside) { print "a C block without an end" > "/dev/stderr"; exit 1 } print count > (work "/count") }
' $documents || fail "see above"

# A document names no function, constant or option that does not exist (a trailing "_" names a family).
# shellcheck disable=SC2013,SC2086
for word in $(grep -hoE '\b(encke_[a-z_0-9]+|ENCKE_[A-Z_0-9]+)' $documents | sort -u); do
  case $word in *_) pattern=$word ;; *) pattern="$word([^A-Za-z0-9_]|\$)" ;; esac
  grep -rqE -- "$pattern" include/encke.h CMakeLists.txt cmake c-tests/CMakeLists.txt src/engine/tests tools || fail "$word is named in a document and does not exist"
done

# In the parts of a document a static function is meant to be called by the rest.
for file in "$work"/part*.c; do
  [ -e "$file" ] || continue
  sed -i.orig 's/^static void serve(/void serve(/' "$file"
  # shellcheck disable=SC2046,SC2086
  $CC $part -I"$work" $(pkg-config --cflags encke) -c -o "$work/part.o" "$file" || fail "a part does not compile"
done

ask() {
  LD_LIBRARY_PATH=$libdir "$work/$1" "unix:$work/socket" > "$work/out" 2>&1 &
  server=$!
  tries=0
  until curl -sS --max-time 10 --fail --unix-socket "$work/socket" http://localhost/ > "$work/answer" 2> "$work/curl"; do
    tries=$((tries + 1))
    if [ $tries -gt 2000 ] || ! kill -0 "$server" 2> /dev/null; then
      cat "$work/out" "$work/curl" >&2
      fail "$1 does not answer"
    fi
  done
  kill "$server"
  wait "$server" 2> /dev/null || :
  server=
  rm -f "$work/socket"
}

while read -r name run; do
  source=$work/$name.c
  # shellcheck disable=SC2046,SC2086
  {
    $CC $strict -o "$work/$name" "$source" $(pkg-config --cflags --libs encke)
    if pkg-config --exists encke-static; then
      $CC $strict -o "$work/$name-archive" "$source" $(pkg-config --cflags --libs encke-static)
      $CC $strict -static -o "$work/$name-static" "$source" $(pkg-config --cflags --libs encke-static)
      $CC $strict -static -o "$work/$name-static2" "$source" $(pkg-config --static --cflags --libs encke)
    fi
  } || fail "$name does not compile or link"
  [ "$run" = run ] || continue
  for variant in "$name" "$name-archive" "$name-static" "$name-static2"; do
    [ ! -x "$work/$variant" ] || ask "$variant"
  done
done < "$work/complete"
echo "check-readme: $(cat "$work/count") blocks compile, $(grep -c run "$work/complete" || :) of them run"
