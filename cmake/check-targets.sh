#!/bin/sh
# check-targets.sh = `make check-targets`: type-checks the code that this machine never runs (kqueue).
#   check-targets.sh [TRIPLE ...]      default: FreeBSD and macOS
# Where rustup has the standard library of a target, that is used. Else the standard library is compiled from source with
# cargo's -Zbuild-std: from the toolchain's rust-src component, or, on Debian, from the packages rustc-web and rust-web-src,
# which are unpacked below target/ and not installed. Without TLS: the cryptography under it is C in part, which needs a C
# compiler for the target; none of it depends on the system, and what is between it and the sockets is looked at with a stand-in
# (src/io/no_tls.rs). Not part of `make test`: it may have to download some 140 MB.
set -eu
cd "$(dirname "$0")/.."
sh cmake/need.sh rust
work=${CARGO_TARGET_DIR:-target}/check-targets
[ $# -gt 0 ] || set -- x86_64-unknown-freebsd aarch64-apple-darwin

unpack_debian() {
  root=$work/debian
  [ -x "$root/usr/bin/rustc" ] && return
  command -v apt-get > /dev/null 2>&1 && apt-cache show rust-web-src > /dev/null 2>&1 || {
    echo "no source of the standard library: rustup component add rust-src" >&2
    exit 1
  }
  std=$(apt-cache depends libstd-rust-web-dev | sed -n 's/^ *Depends: \(libstd-rust-web-[0-9.]*\)$/\1/p' | head -n 1)
  llvm=$(apt-cache depends "$std" | sed -n 's/^ *Depends: \(libllvm[0-9]*\).*/\1/p' | head -n 1)
  rm -rf "$work/debs" "$root"
  mkdir -p "$work/debs" "$root"
  echo "downloading: rustc-web rust-web-src libstd-rust-web-dev $std $llvm"
  (cd "$work/debs" && apt-get download -q rustc-web rust-web-src libstd-rust-web-dev "$std" "$llvm" > /dev/null 2>&1)
  for deb in "$work"/debs/*.deb; do dpkg -x "$deb" "$root"; done
  rm -rf "$work/debs"
}

# In a subshell: the environment of one target is not that of the next.
check() (
  target=$1 build_std=
  if [ ! -d "$sysroot/lib/rustlib/$target/lib" ]; then
    build_std=-Zbuild-std=std,panic_unwind
    export RUSTC_BOOTSTRAP=1
    if [ ! -d "$sysroot/lib/rustlib/src/rust/library" ]; then
      unpack_debian
      root=$(cd "$work/debian" && pwd)
      RUSTC=$root/usr/bin/rustc
      LD_LIBRARY_PATH=$root/usr/lib/$(uname -m)-linux-gnu
      export RUSTC LD_LIBRARY_PATH
    fi
  fi
  # shellcheck disable=SC2086
  cargo check --locked --lib --no-default-features --features push,mounts,links $build_std --target "$target" --target-dir "$work"
)

mkdir -p "$work"
sysroot=$(rustc --print sysroot)
failed=
for target in "$@"; do
  echo "== $target"
  check "$target" || failed="$failed $target"
done
[ -z "$failed" ] || { echo "check-targets: failed:$failed" >&2; exit 1; }
echo "check-targets: all $# targets pass (without TLS)"
