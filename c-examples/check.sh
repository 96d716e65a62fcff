#!/bin/sh
# check.sh DIRECTORY: the HTTPS examples as built in DIRECTORY, used as their users would: hello_tls with curl, with new
# certificates by SIGHUP, with clients that show certificates; select_loop with both of its listeners.
# Rule: waits for what a program says, never for time. Who starts it sets the limit (ctest does).
set -eu
[ $# = 1 ] || { echo "usage: check.sh DIRECTORY" >&2; exit 2; }
programs=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
work=$(mktemp -d "${TMPDIR:-/tmp}/encke-examples.XXXXXX")
server='' client=''
cleanup() {
  [ -z "$server" ] || kill "$server" 2> /dev/null || :
  [ -z "$client" ] || kill "$client" 2> /dev/null || :
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

fail() {
  echo "check: $*" >&2
  cat "$work/said" >&2
  exit 1
}

# said TEXT: reads what the server says until a line has TEXT; that line is left in $line.
said() {
  while read -r line <&3; do
    echo "  $line" >> "$work/said"
    case $line in *"$1"*) return ;; esac
  done
  fail "it never said: $1"
}

# start PROGRAM ARGUMENT...
start() {
  : > "$work/said"
  rm -f "$work/fifo"
  mkfifo "$work/fifo"
  name=$1
  shift
  "$programs/$name" "$@" > "$work/fifo" 2>&1 &
  server=$!
  exec 3< "$work/fifo"
}

stop() {
  kill "$server"
  wait "$server" || fail "$name ended with $?"
  server=
  exec 3<&-
}

# get NAME URL [OPTION...]: an answer, trusting the certificate in $work/NAME
get() {
  trusted=$1 url=$2
  shift 2
  curl -sS --noproxy '*' --max-time 20 --cacert "$work/$trusted/certificate.pem" "$@" "$url" 2>> "$work/said"
}

expect() {
  case $2 in *"$1"*) ;; *) fail "not \"$1\" but \"$2\"" ;; esac
}

use() { cp "$work/$1/certificate.pem" "$work/$1/key.pem" "$work/used/"; }

# ---- certificates: two for servers, and a CA with one client ----

mkdir "$work/used"
for name in first second; do sh cmake/certificate.sh "$work/$name"; done
printf '[req]\nprompt = no\ndistinguished_name = dn\nx509_extensions = ca\n[dn]\nCN = someone\n[ca]\nbasicConstraints = critical, CA:TRUE\n' > "$work/config"
printf 'extendedKeyUsage = clientAuth\nbasicConstraints = critical, CA:FALSE\n' > "$work/client"
{
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -config "$work/config" -subj "/CN=The CA" \
    -keyout "$work/ca-key.pem" -out "$work/ca.pem"
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -config "$work/config" \
    -keyout "$work/me-key.pem" -out "$work/me-request.pem"
  openssl x509 -req -in "$work/me-request.pem" -CA "$work/ca.pem" -CAkey "$work/ca-key.pem" -set_serial 1 -days 1 \
    -extfile "$work/client" -out "$work/me.pem"
} > "$work/said" 2>&1 || fail "openssl"

# ---- hello_tls ----

use first
start hello_tls "$work/used/certificate.pem" "$work/used/key.pem" - 127.0.0.1:0
said "listening on https://"
at=${line#*https://} at=${at%/}
port=${at##*:}
expect "Hello, World! TLSv1.3 " "$(get first "https://localhost:$port/")"
expect "whoever you are" "$(get first "https://localhost:$port/" --tls-max 1.2)"
expect "https://" "$(get first "http://localhost:$port/")"

# A connection that lives while the certificate changes.
mkfifo "$work/in" "$work/out"
openssl s_client -quiet -connect "$at" -servername localhost < "$work/in" > "$work/out" 2> /dev/null &
client=$!
exec 4> "$work/in" 5< "$work/out"
ask() {
  printf 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n' >&4
  while read -r line <&5; do
    case $line in Hello*) return ;; esac
  done
  fail "the old connection $1"
}
ask "is not answered"
use second
kill -HUP "$server"
said "new certificates are in use"
ask "did not outlive a new certificate"
kill "$client"
wait "$client" 2> /dev/null || :
client=
exec 4>&- 5<&-
expect "Hello, World!" "$(get second "https://localhost:$port/")"
if get first "https://localhost:$port/"; then fail "the old certificate is still shown"; fi

# Files that cannot be used change nothing: a key that is not its certificate's, then no certificate at all.
cp "$work/first/key.pem" "$work/used/"
kill -HUP "$server"
said "it does not belong to certificate 1"
said "the old certificates stay in use"
expect "Hello, World!" "$(get second "https://localhost:$port/")"
echo junk > "$work/used/certificate.pem"
kill -HUP "$server"
said "not PEM"
said "the old certificates stay in use"
rm "$work/used/certificate.pem"
kill -HUP "$server"
said "No such file"
said "the old certificates stay in use"
expect "Hello, World!" "$(get second "https://localhost:$port/")"
use first
kill -HUP "$server"
said "new certificates are in use"
expect "Hello, World!" "$(get first "https://localhost:$port/")"
stop

# With the CAs of clients.
start hello_tls "$work/used/certificate.pem" "$work/used/key.pem" "$work/ca.pem" 127.0.0.1:0
said "listening on https://"
port=${line##*:} port=${port%/}
expect "I know you" "$(get first "https://localhost:$port/" --cert "$work/me.pem" --key "$work/me-key.pem")"
if get first "https://localhost:$port/"; then fail "served without a certificate"; fi
if get first "https://localhost:$port/" --cert "$work/first/certificate.pem" --key "$work/first/key.pem"; then
  fail "served with somebody else's certificate"
fi
stop

# ---- select_loop ----

start select_loop 127.0.0.1:0 127.0.0.1:0 "$work/first/certificate.pem" "$work/first/key.pem"
said "open http://"
http=${line#*http://} http=${http%%/*}
https=${line#*https://} https=${https%%/*}
expect '"your connection": "HTTP"' "$(get first "http://$http/state")"
expect '"your connection": "TLSv1.' "$(get first "https://$https/state")"
expect "worked after 1 ms" "$(get first "https://$https/work?n=worked&ms=1")"
stop
echo "check: the HTTPS examples do what they say"
