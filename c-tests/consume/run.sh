#!/bin/sh
# Uses the library in every way a C program may: find_package, pkg-config, add_subdirectory, FetchContent; each program is
# started, asked once over HTTP, and ended by its own process id. Then what was installed is looked at.
#   run.sh PREFIX SOURCE_DIR [WORKDIR]
# shellcheck disable=SC2046,SC2086 # flags and wrappers are lists of words
set -u
prefix=$(cd "${1:?usage: run.sh PREFIX SOURCE_DIR [WORKDIR]}" && pwd)
source=$(cd "${2:?usage: run.sh PREFIX SOURCE_DIR [WORKDIR]}" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
work=${3:-$(mktemp -d)}
mkdir -p "$work" && work=$(cd "$work" && pwd)
passed=0 failed=0
log=$work/log

# check NAME COMMAND...: one result
check() {
  name=$1
  shift
  if "$@" > "$log" 2>&1; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED consume: $name"
    tail -n 30 "$log" | sed 's/^/    /'
  fi
}

refused() { ! "$@"; }

# serves PROGRAM: it prints its address, answers one request, lives until it is ended
serves() {
  fifo=$work/address.$$
  rm -f "$fifo" && mkfifo "$fifo" || return 1
  "$1" > "$fifo" &
  pid=$!
  at=$(timeout 10 head -n 1 "$fifo")
  said=$(curl --silent --show-error --noproxy '*' --max-time 10 "http://$at/")
  alive=0
  kill -0 $pid && alive=1
  kill $pid
  wait $pid
  rm -f "$fifo"
  [ "$said" = hello ] && [ $alive = 1 ]
}

needs_libencke() { readelf -d "$1" | grep -q 'NEEDED.*libencke\.so'; }
linked_statically() { test -x "$1" && ! needs_libencke "$1"; }

# build DIRECTORY BUILD [-D...]
build() {
  from=$1 to=$2
  shift 2
  cmake -S "$here/$from" -B "$to" "$@" && cmake --build "$to" --parallel 2
}

# Ways into the source tree take long to optimise and are not measured: let cargo hurry.
from_source() {
  CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    build "$1" "$2" -DCMAKE_C_COMPILER="$3" -DENCKE_SOURCE_DIR="$source"
}

library=$(find "$prefix" -name libencke.so | head -n 1)
pkgconfig=$(dirname "$(find "$prefix" -name encke.pc | head -n 1)")
libdir=$(dirname "$library")
if [ -z "$library" ] || [ ! -f "$pkgconfig/encke.pc" ]; then
  echo "FAILED consume: no installed encke under $prefix"
  echo "consume: 0 passed, 1 failed"
  exit 1
fi

# pc COMMAND...: pkg-config that sees this tree alone
pc() { PKG_CONFIG_PATH='' PKG_CONFIG_LIBDIR="$1/pkgconfig" sh -c 'shift; pkg-config "$@"' pc "$@"; }

# by_pkgconfig COMPILER LIBDIR OUT SOURCE-LANGUAGE: the command lines of a program without any build system
by_pkgconfig() {
  "$1" -x "$4" "$here/hello.c" -x none $(pc "$2" --cflags encke) $(pc "$2" --libs encke) -Wl,-rpath,"$2" -o "$3_shared" &&
    "$1" -x "$4" "$here/hello.c" -x none $(pc "$2" --cflags encke-static) $(pc "$2" --libs encke-static) -o "$3_static" &&
    "$1" -x "$4" "$here/hello.c" -x none $(pc "$2" --static --cflags encke) \
      $(pc "$2" --static --libs encke | sed 's/-lencke/-Wl,-Bstatic -lencke -Wl,-Bdynamic/') -o "$3_bstatic"
}

for compiler in gcc clang; do
  command -v $compiler > /dev/null || continue
  out=$work/$compiler
  mkdir -p "$out"

  check "$compiler: find_package" build find_package "$out/find_package" -DCMAKE_C_COMPILER=$compiler -DCMAKE_PREFIX_PATH="$prefix"
  for kind in shared static encke; do check "$compiler: find_package, $kind serves" serves "$out/find_package/hello_$kind"; done
  check "$compiler: find_package, shared needs the library" needs_libencke "$out/find_package/hello_shared"
  check "$compiler: find_package, static does not" linked_statically "$out/find_package/hello_static"

  check "$compiler: pkg-config" by_pkgconfig $compiler "$libdir" "$out/pc" c
  for kind in shared static bstatic; do check "$compiler: pkg-config, $kind serves" serves "$out/pc_$kind"; done
  check "$compiler: pkg-config, shared needs the library" needs_libencke "$out/pc_shared"
  check "$compiler: pkg-config, static does not" linked_statically "$out/pc_static"
  check "$compiler: pkg-config, -Bstatic does not" linked_statically "$out/pc_bstatic"

  for way in subdirectory fetch; do
    check "$compiler: $way" from_source $way "$out/$way" $compiler
    for kind in shared static; do check "$compiler: $way, $kind serves" serves "$out/$way/hello_$kind"; done
    check "$compiler: $way, static does not need the library" linked_statically "$out/$way/hello_static"
  done
done
for compiler in g++ clang++; do
  command -v $compiler > /dev/null || continue
  check "$compiler: pkg-config, as C++" by_pkgconfig $compiler "$libdir" "$work/cxx_$compiler" c++
  check "$compiler: as C++ serves" serves "$work/cxx_${compiler}_static"
done

# ---- what was installed ----
only_encke_symbols() {
  symbols=$(nm -D --defined-only "$library" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }')
  echo "$symbols" | grep -c '^encke_' && ! echo "$symbols" | grep -v '^encke_'
}
soname_is() { readelf -d "$library" | grep -q "SONAME.*\[$1\]"; }
links_are_right() { [ -L "$libdir/libencke.so" ] && [ -L "$libdir/libencke.so.0.1" ] && [ -f "$libdir/libencke.so.0.1.0" ]; }
mentions() { grep -rIlF "$2" "$1/pkgconfig" "$1/cmake/encke"; }

check "only encke_* is exported" only_encke_symbols
check "soname" soname_is libencke.so.0.1
check "links from libencke.so" links_are_right
check "the prefix is in no package file" refused mentions "$libdir" "$prefix"

# ---- an installed tree that is moved ----
moved=$work/moved
rm -rf "$moved"
moved_libdir=$moved${libdir#"$prefix"}
mkdir -p "$moved_libdir/cmake" "$moved_libdir/pkgconfig" "$moved/include"
cp -a "$libdir"/libencke* "$moved_libdir/"
cp -a "$libdir/cmake/encke" "$moved_libdir/cmake/"
cp -a "$pkgconfig"/encke*.pc "$moved_libdir/pkgconfig/"
cp -a "$prefix/include/encke.h" "$moved/include/"
stays_in_the_moved_tree() { ldd "$1" | grep -q "libencke.*=> $moved_libdir/"; }
check "moved: find_package" build find_package "$work/moved_cmake" -DCMAKE_PREFIX_PATH="$moved"
check "moved: find_package serves" serves "$work/moved_cmake/hello_shared"
check "moved: the library of the moved tree" stays_in_the_moved_tree "$work/moved_cmake/hello_shared"
check "moved: pkg-config" by_pkgconfig cc "$moved_libdir" "$work/moved_pc" c
check "moved: pkg-config serves" serves "$work/moved_pc_shared"
check "moved: the library of the moved tree, pkg-config" stays_in_the_moved_tree "$work/moved_pc_shared"

# ---- versions ----
wants() { cmake -S "$here/version" -B "$work/version_$1" -DCMAKE_PREFIX_PATH="$prefix" -DWANTED="$1"; }
for version in 0.1 0.1.0; do check "version $version is had" wants $version; done
for version in 0.0 0.1.9 0.2 1.0; do check "version $version is refused" refused wants $version; done
check "pkg-config: version" pc "$libdir" --exact-version=0.1.0 encke
check "pkg-config: a later version is refused" refused pc "$libdir" --atleast-version=0.2 encke

echo "consume: $passed passed, $failed failed"
[ $failed = 0 ]
