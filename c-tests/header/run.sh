#!/bin/sh
# Compiles encke.h alone as every standard of C and C++ that hosts use, with every warning an error.
#   run.sh INCLUDE_DIR
# shellcheck disable=SC2046,SC2086 # flags and wrappers are lists of words
set -u
include=${1:?usage: run.sh INCLUDE_DIR}
here=$(cd "$(dirname "$0")" && pwd)
passed=0 failed=0

# try COMPILER STANDARD SOURCE [WARNING...]
try() {
  compiler=$1 standard=$2 source=$3
  shift 3
  command -v "$compiler" > /dev/null || return 0
  if "$compiler" -std="$standard" -Wall -Wextra -Wpedantic -Werror "$@" -fsyntax-only -I"$include" "$here/$source"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED header: $compiler -std=$standard $source"
  fi
}

for compiler in gcc clang; do
  for standard in c99 c11 c2x gnu11; do
    try $compiler $standard alone.c -Wundef -Wstrict-prototypes -Wold-style-definition
  done
done
for compiler in g++ clang++; do
  for standard in c++98 c++11 c++17 c++20; do
    try $compiler $standard alone.cpp -Wundef
  done
done
echo "header: $passed passed, $failed failed"
[ $failed = 0 ] && [ $passed -gt 0 ]
