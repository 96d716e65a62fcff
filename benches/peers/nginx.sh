#!/bin/sh
# nginx.sh PORT - nginx with one worker; its files live in a directory of the run.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${STATE:-$here/../state}/nginx.XXXXXX")
sed "s|@WORK@|$work|g; s|@PORT@|$1|" "$here/nginx.conf.in" > "$work/nginx.conf"
exec "$(PATH="$PATH:/usr/sbin" command -v nginx)" -c "$work/nginx.conf" -p "$work"
