#!/bin/sh
# nginx.sh PORT [tls [PLAIN_PORT]] - nginx with one worker; its files live in a directory of the run.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
state=${STATE:-$here/../state}
work=$(mktemp -d "$state/nginx.XXXXXX")
head -c 1048576 /dev/zero | tr '\0' x > "$work/big"
[ "${2:-}" = tls ] && with='s|@SSL@|ssl|' || with='s|@SSL@||; /ssl_/d'
[ -n "${3:-}" ] && with="$with; s|@PLAIN@|$3|" || with="$with; /@PLAIN@/d"
# As who starts it, also if that is root: the files of the run may lie where nobody else gets.
sed "$with; s|@USER@|$(id -un) $(id -gn)|; s|@STATE@|$state|g; s|@WORK@|$work|g; s|@PORT@|$1|" "$here/nginx.conf.in" > "$work/nginx.conf"
exec "$(PATH="$PATH:/usr/sbin" command -v nginx)" -c "$work/nginx.conf" -p "$work"
