#!/bin/sh
# nchan.sh PORT - nginx with nchan (Debian: libnginx-mod-nchan) and one worker: POST /pub, GET /feed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
state=${STATE:-$here/../state}
work=$(mktemp -d "$state/nginx.XXXXXX")
sed "s|@USER@|$(id -un) $(id -gn)|; s|@WORK@|$work|g; s|@PORT@|$1|" "$here/nchan.conf.in" > "$work/nginx.conf"
exec "$(PATH="$PATH:/usr/sbin" command -v nginx)" -c "$work/nginx.conf" -p "$work"
