#!/bin/sh
# test.sh PREFIX: the programs of the message bus as installed under PREFIX, against each other, as their users would.
# Rule: waits for what is said or to be seen, never for time alone; every wait has an end. Ports are the system's choice.
set -eu
[ $# = 1 ] || { echo "usage: test.sh PREFIX" >&2; exit 2; }
prefix=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
bin=$prefix/bin
work=$(mktemp -d "${TMPDIR:-/tmp}/encke-tools.XXXXXX")
pids=
cleanup() {
  for pid in $pids; do kill -9 "$pid" 2> /dev/null || :; done
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM
passed=0

fail() {
  echo "tools: $step: $*" >&2
  for file in "$work"/*.out "$work"/*.err; do
    [ ! -s "$file" ] || { echo "--- ${file##*/}" >&2; tail -n 12 "$file" | tr -cd '\n -~' | cut -c 1-200 >&2; }
  done
  exit 1
}

begin() { step=$*; passed=$((passed + 1)); }

# until_ CONDITION...: a command that is to come true within half a minute
until_() {
  tries=0
  until "$@" > /dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 600 ] || fail "never came true: $*"
    sleep 0.05
  done
}

has() { grep -q -e "$2" "$work/$1"; }
lines() { [ "$(wc -l < "$work/$1")" -ge "$2" ]; }
over() { ! kill -0 "$1"; }

# run NAME PROGRAM ARGUMENT...: in the background, with NAME.out and NAME.err; its process is $pid
run() {
  run_name=$1 program=$2
  shift 2
  "$bin/$program" "$@" > "$work/$run_name.out" 2> "$work/$run_name.err" 4>&- 5>&- & # what it holds open would never end
  pid=$!
  pids="$pids $pid"
}

# ends PID CODE: it ends so, within half a minute
ends() {
  until_ over "$1"
  code=0
  wait "$1" || code=$?
  [ "$code" = "$2" ] || fail "exit code $code, not $2"
}

# says CODE TEXT PROGRAM ARGUMENT...: ends with this code and says this
says() {
  expected=$1 text=$2 program=$3
  shift 3
  code=0
  timeout 30 "$bin/$program" "$@" > "$work/says.out" 2> "$work/says.err" < /dev/null || code=$?
  [ "$code" = "$expected" ] || fail "$program $*: exit code $code, not $expected"
  [ -z "$text" ] || cat "$work/says.out" "$work/says.err" | grep -q -e "$text" || fail "$program $*: it did not say: $text"
}

# bus NAME ARGUMENT...: a bus that is ready; $bus is its process, $http and $https its ports
bus() {
  bus_name=$1
  shift
  run "$bus_name" encke-bus --stats /stats "$@"
  bus=$pid
  until_ has "$bus_name.out" '^ready$'
  http=$(sed -n 's|^listening on http://.*:\([0-9]*\)/msgbus/$|\1|p' "$work/$bus_name.out" | head -n 1)
  https=$(sed -n 's|^listening on https://.*:\([0-9]*\)/msgbus/$|\1|p' "$work/$bus_name.out" | head -n 1)
}

get() { curl -sS --noproxy '*' --max-time 20 "$@"; }
stats() { get "http://127.0.0.1:$1/stats"; }
subscribed() { stats "$1" | grep -q "^channel $2: ${3:-1} subscribers"; }

# ---- the command line ----

begin "help, versions, installed files"
for name in encke-bus encke-send encke-dump encke-pub encke-sub; do
  says 0 "usage: $name" $name --help
  says 0 "$name (encke) [0-9]" $name --version
  says 2 "Try '$name --help'" $name --no-such-option
  [ -s "$prefix/share/man/man1/$name.1" ] || fail "no manual of $name"
  # Every option of the help stands in the manual.
  for option in $("$bin/$name" --help | grep -o -e '--[a-z][a-z-]*[a-z]' | sort -u); do
    sed 's/\\-/-/g' "$prefix/share/man/man1/$name.1" | grep -q -e "$option" || fail "$name: $option is not in the manual"
  done
done
[ -s "$prefix/share/encke/chatdemo/index.html" ] || fail "no chat demo"

begin "command lines that are wrong"
says 2 'no number from 0 to 65535' encke-bus -p 65536
says 2 'no number from 0 to 65535' encke-bus -p -1
says 2 'is no option' encke-bus something
says 2 'without --certificate' encke-bus --tls-key x
says 2 'TLS needs --certificate' encke-bus -p 0 -P 0
says 2 'drop-new, drop-old or close' encke-bus --slow down
says 2 'no mode' encke-bus --unix-mode 0999
says 2 'no path outside' encke-bus --stats stats
says 2 'it is empty' encke-bus -s ''
says 2 '' encke-bus -l 256.1.1.1 -p 0
says 2 'which channel' encke-send
says 2 'one channel' encke-send a b
says 2 'no number of seconds' encke-send -w soon a
says 2 'from stdin only' encke-send -L -m x a
says 2 '' encke-send -m x ftp://127.0.0.1/msgbus/a
says 2 '' encke-send -m x http://
says 2 '' encke-send -m x http://127.0.0.1:99999/msgbus/a
says 2 'give types and senders as options' encke-send -m x 'http://127.0.0.1/msgbus/a?type=b'
says 2 '' encke-send -m x "$(printf 'a\nb')"
says 2 'not over a UNIX socket' encke-send -s -l unix:/x -m x a
says 2 'no number from 1' encke-dump -n 0 a
says 2 'types and senders are of a bus' encke-dump -t a http://127.0.0.1/events
says 2 'the URL is no WebSocket' encke-dump -P a http://127.0.0.1/events
says 2 'a fragment is never sent' encke-dump http://127.0.0.1/events#a
says 2 'no number from 42' encke-pub -z 10
says 2 'no address' encke-sub -l nowhere.invalid
says 1 'No such file' encke-send -f "$work/none" a
says 1 'No such file' encke-send -C "$work/none" -m x a
says 1 'No such file' encke-bus -p 0 -c "$work/none"
says 1 'No such file' encke-bus -p 0 -d "$work/none"
says 1 'there is no user' encke-bus -p 0 -u no-such-user-here
echo junk > "$work/junk.pem"
says 1 'PEM' encke-bus -p 0 -c "$work/junk.pem"

# ---- send and dump, over everything ----

for name in first second; do
  sh cmake/certificate.sh "$work/$name"
  cat "$work/$name/certificate.pem" "$work/$name/key.pem" > "$work/$name/both.pem"
done
cp "$work/first/both.pem" "$work/used.pem"
mkdir "$work/www"
echo '<p>a page' > "$work/www/index.html"
begin "a bus with everything"
bus all -l 127.0.0.1 -p 0 -P 0 -c "$work/used.pem" --unix "$work/socket" --unix-mode 0600 -d "$work/www" -vvv
all=$bus all_http=$http all_https=$https
[ -n "$http" ] && [ -n "$https" ] && has all.out "^listening on unix:$work/socket:/msgbus/\$" || fail "where does it listen?"
ls -l "$work/socket" | grep -q '^srw-------' || fail "the mode of the socket"

sent=0
pair() { # pair NAME 'DUMP OPTIONS' 'SEND OPTIONS': a message goes from one to the other; the channel is NAME
  begin "send and dump: $1"
  # shellcheck disable=SC2086
  file=$(echo "$1" | tr / -)
  run "$file" encke-dump -n 1 $2 "$(target "$1")"
  dump=$pid
  until_ subscribed "$all_http" "$1"
  # shellcheck disable=SC2086
  says 0 '' encke-send -m "it is $1" $3 "$(target "$1")"
  ends $dump 0
  sent=$((sent + 1))
  has "$file.out" "it is $1" || fail "another message"
}
target() { echo "$1"; }
at="-l 127.0.0.1 -p $all_http"
pair tcp "$at" "$at"
has tcp.out '^tcp text/plain - 9 bytes$' || fail "the line that names it"
pair tls "$at" "-s -l localhost -p $all_https -C $work/first/certificate.pem"
pair tls-both "-s -l 127.0.0.1 -p $all_https -C $work/first/certificate.pem" "-s -l localhost -p $all_https -C $work/first/certificate.pem"
pair unix "-l unix:$work/socket" "-l unix:$work/socket"
pair deep/er "$at" "$at"
target() { echo "http://127.0.0.1:$all_http/msgbus/$1"; }
pair url "" "-u alice:"
has url.out '^url text/plain alice 9 bytes$' || fail "the sender"
target() { echo "unix:$work/socket:/msgbus/$1"; }
pair url-of-unix "" ""

begin "forms, types and senders"
head -c 70000 /dev/urandom > "$work/random"
run raw encke-dump $at -n 1 -r -t 'image/*,!image/gif' forms
raw=$pid
run json encke-dump $at -n 3 -j -f 'al*' forms
json=$pid
until_ subscribed "$all_http" forms 2
says 0 '' encke-send $at -u bob: -t image/gif -m no forms
says 0 '' encke-send $at -u alice: -t image/png -f "$work/random" forms
says 0 '' encke-send $at -u alice: -m 'a "word"' forms
says 0 '' encke-send $at -u bob: -m 'not for alice' forms
says 0 '' encke-send $at -u alice: -m last forms
ends $raw 0
ends $json 0
cmp "$work/raw.out" "$work/random" || fail "raw data"
sed -n 1p "$work/json.out" | grep -q '^{"channel":"forms","type":"image/png","from":"alice","base64":"' || fail "json: bytes"
[ "$(sed -n 2p "$work/json.out")" = '{"channel":"forms","type":"text/plain","from":"alice","data":"a \"word\""}' ] || fail "json: text"
[ "$(sed -n 's/.*"base64":"\(.*\)"}$/\1/p' "$work/json.out" | base64 -d | cksum)" = "$(cksum < "$work/random")" ] || fail "json: base64"

begin "names that no path has, and a large message"
for channel in 'Zoë & co' 'a?b#c' '*'; do
  run names encke-dump $at -n 1 -j "$channel"
  dump=$pid
  until_ sh -c "curl -sS --noproxy '*' http://127.0.0.1:$all_http/stats | grep -q '^subscribers 1\$'"
  says 0 '' encke-send $at -m x "$(echo "$channel" | sed 's/^\*$/any of them/')"
  ends $dump 0
  case $channel in '*') has names.out '"channel":"any of them"' ;; *) grep -qF "\"channel\":\"$channel\"" "$work/names.out" ;; esac || fail "the name $channel"
done
head -c 5000000 /dev/zero | tr '\0' x > "$work/large"
run large encke-dump $at -n 1 -r large
dump=$pid
until_ subscribed "$all_http" large
says 0 '' encke-send $at -f "$work/large" large
ends $dump 0
cmp "$work/large" "$work/large.out" || fail "another message"

begin "all channels, lines, and what a terminal must not see"
run every encke-dump $at -n 4
dump=$pid
until_ sh -c "curl -sS --noproxy '*' http://127.0.0.1:$all_http/stats | grep -q '^subscribers 1\$'"
printf 'one\ntwo\nthree without an end' | timeout 30 "$bin/encke-send" $at -L lines || fail "lines"
printf '\033[31mred\n' | timeout 30 "$bin/encke-send" $at other || fail "send"
ends $dump 0
has every.out '^lines text/plain - 20 bytes$' && has every.out '^three without an end$' && has every.out '^other ' && has every.out '^\.\[31mred$' || fail "another text"

begin "events of another server"
cat > "$work/events.py" << 'EOF'
import http.server, ssl, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        if self.path == "/moved":
            return self.say(307, [("Location", "/events")])
        if self.path == "/auth" and self.headers["Authorization"] != "Basic bWU6c0BjcmV0":
            return self.say(401, [])
        if "text/event-stream" not in self.headers["Accept"] or self.path not in ("/events?a=b", "/auth"):
            return self.say(404, [])
        seen = self.headers["Last-Event-ID"]
        if seen == "2":
            return self.say(204, [])
        self.say(200, [("Content-Type", "text/event-stream")])
        self.wfile.write(b"id: 2\ndata: three\n\n" if seen == "1" else b": hello\nretry: 20\nid: 1\nevent: tick\r\ndata: one\rdata: two\n\n")
    def say(self, status, fields):
        self.send_response(status)
        for name, value in fields: self.send_header(name, value)
        self.end_headers()
s = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
if len(sys.argv) > 1:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1])
    s.socket = context.wrap_socket(s.socket, server_side=True)
print(s.server_address[1], flush=True)
s.serve_forever()
EOF
for kind in http https; do
  python3 "$work/events.py" $([ $kind = http ] || echo "$work/first/both.pem") > "$work/$kind.port" &
  pids="$pids $!"
  until_ lines $kind.port 1
done
events_http=http://127.0.0.1:$(cat "$work/http.port") events_https=https://localhost:$(cat "$work/https.port")
says 0 'there is no more' encke-dump -j "$events_http/events?a=b"
[ "$(cat "$work/says.out")" = '{"channel":"events","type":"text/plain; charset=utf-8","event":"tick","data":"one\u000atwo"}
{"channel":"events","type":"text/plain; charset=utf-8","data":"three"}' ] || fail "other events"
grep -q 'messages may have been missed' "$work/says.err" || fail "who knows whether it has all?"
says 1 'there is no more' encke-dump -n 3 "$events_http/events?a=b"
says 0 '^events text/plain; charset=utf-8 - 7 bytes$' encke-dump -n 1 -C "$work/first/certificate.pem" "$events_https/events?a=b"
says 1 'certificate' encke-dump -w 0 -C "$work/second/certificate.pem" "$events_https/events?a=b"
says 0 three encke-dump -r "http://me:s%40cret@${events_http#http://}/auth"
says 1 '/auth: refused: status 401' encke-dump "http://me:secret@${events_http#http://}/auth"
! grep -q secret "$work/says.err" || fail "it shows the secret"
says 0 three encke-dump -u me:s@cret "$events_http/auth"
says 1 'status 307: it is at /events' encke-dump "$events_http/moved"
says 1 'status 404' encke-dump "$events_http/"

begin "WebSockets"
run ws encke-dump -n 1 -j "ws://127.0.0.1:$all_http/msgbus/feed"
ws=$pid
run wss encke-dump -n 1 -j "wss://localhost:$all_https/msgbus/feed" -C "$work/first/certificate.pem"
wss=$pid
until_ subscribed "$all_http" feed 2
says 0 '' encke-send $at -m 'over a socket' feed
ends $ws 0
ends $wss 0
for name in ws wss; do
  [ "$(cat "$work/$name.out")" = '{"channel":"msgbus/feed","type":"text/plain; charset=utf-8","data":"over a socket"}' ] || fail "another message"
done
says 1 'certificate' encke-dump -w 0 "wss://localhost:$all_https/msgbus/feed" -C "$work/second/certificate.pem"
run with-json encke-dump -n 2 -r -P encke.json "ws://127.0.0.1:$all_http/msgbus/feed"
dump=$pid
until_ has with-json.out '"position"'
says 0 '' encke-send $at -u zoe: -m hello feed
ends $dump 0
has with-json.out '"from":"zoe","data":"hello"' || fail "no JSON"
says 1 'no WebSocket' encke-dump -w 0 "ws://127.0.0.1:$all_http/"
says 1 'refused' encke-dump -w 0 ws://127.0.0.1:1/
run told encke-dump -w 0 "ws://127.0.0.1:$all_http/msgbus/ending"
ending=$pid
until_ subscribed "$all_http" ending

begin "documents, counters and what -v tells"
[ "$(get "http://127.0.0.1:$all_http/")" = '<p>a page' ] || fail "the page"
[ "$(get -o /dev/null -w '%{http_code}' "http://127.0.0.1:$all_http/none")" = 404 ] || fail "no 404"
get -H 'Accept: application/json' "http://127.0.0.1:$all_http/stats" > "$work/stats.json"
python3 -c "import json, sys; s = json.load(open(sys.argv[1])); assert s['published'] >= $sent and s['connections'] >= 1" "$work/stats.json" || fail "JSON"
until_ has all.out '^SUB 127.0.0.1:[0-9]* - tcp$'
until_ has all.out '^UNSUB 127.0.0.1:[0-9]* - tcp$'
until_ has all.out '^SUB unix: - unix$'
until_ has all.out '^PUB 127.0.0.1:[0-9]* alice url text/plain$'
until_ has all.out '^DOC 127.0.0.1:[0-9]* / 10 bytes$'
python3 - "$all_http" << 'EOF'
import os, socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.sendall(b"GET /msgbus/spoken HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
          b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Basic em9lOg==\r\n\r\n")
f = s.makefile("rb")
while f.readline() != b"\r\n": pass
s.sendall(b"\x81\x82\0\0\0\0hi")
assert f.read(4) == b"\x81\x02hi"
EOF
until_ has all.out '^PUB 127.0.0.1:[0-9]* zoe spoken WebSocket$'

# ---- what goes wrong ----

begin "an address that is in use"
says 1 "cannot listen on 127.0.0.1:$all_http: Address already in use" encke-bus -l 127.0.0.1 -p "$all_http"

begin "nobody there, or not who he should be"
says 1 'refused\|refuse' encke-send -p 1 -m x a
says 1 'No such file' encke-send -l "unix:$work/nobody" -m x a
says 1 'no connection\|refused' encke-dump -p 1 -w 0 a
says 1 'no connection\|refused' encke-dump -p 1 -w 0.3 a
says 1 ': bus.example.invalid: ' encke-send -s -l bus.example.invalid -C "$work/first/certificate.pem" -m x a
says 1 ': bus.example.invalid: ' encke-send -m x http://bus.example.invalid/msgbus/a
says 1 'certificate' encke-send -s -l localhost -p "$all_https" -C "$work/second/certificate.pem" -m x a
says 1 '' encke-send -s -p "$all_http" -C "$work/first/certificate.pem" -m x a
says 1 'refused\|connect' encke-sub -p 1

begin "new certificates by SIGHUP"
mv "$work/used.pem" "$work/old.pem"
kill -HUP "$all"
until_ has all.err 'the old certificates stay in use'
tls="-s -l localhost -p $all_https"
says 0 '' encke-send $tls -C "$work/first/certificate.pem" -m x a
cp "$work/second/both.pem" "$work/used.pem"
kill -HUP "$all"
until_ has all.err 'new certificates are in use'
says 0 '' encke-send $tls -C "$work/second/certificate.pem" -m x a
says 1 'certificate' encke-send $tls -C "$work/first/certificate.pem" -m x a

begin "SIGTERM: everybody gets what was published"
run drained encke-dump $at -r -w 0 drain
dump=$pid
until_ subscribed "$all_http" drain
printf '%s\n' 1 2 3 4 5 6 7 8 9 10 | timeout 30 "$bin/encke-send" $at -L drain || fail "send"
kill "$all"
ends "$all" 0
ends $dump 1
ends $ending 1
has told.err 'the server closed the WebSocket: 1001' || fail "why the WebSocket ended"
[ "$(cat "$work/drained.out")" = 12345678910 ] || fail "something is missing"
[ ! -e "$work/socket" ] || fail "the socket is still there"

begin "a secret, and a second bus beside it"
echo 'open sesame' > "$work/secret"
bus secret -l 127.0.0.1 -p 0 --secret-file "$work/secret" -d "$work/www"
secret=$bus secret_http=$http
bus beside -l 127.0.0.1 -p 0
beside=$bus beside_http=$http
says 1 'status 401' encke-send -p "$secret_http" -m x a
says 1 'status 401' encke-send -p "$secret_http" -u me:wrong -m x a
says 1 'status 401' encke-dump -p "$secret_http" a
says 1 '401' encke-sub -p "$secret_http" -n 3
for path in /stats / /msgbus/a; do
  [ "$(get -o /dev/null -w '%{http_code}' "http://127.0.0.1:$secret_http$path")" = 401 ] || fail "$path is open"
  [ "$(get -o /dev/null -w '%{http_code}' -u me:open "http://127.0.0.1:$secret_http$path")" = 401 ] || fail "$path is open to a part of the secret"
done
get -u 'me:open sesame' "http://127.0.0.1:$secret_http/stats" | grep -q '^published 0$' || fail "the counters"
[ "$(get -o /dev/null -w '%{http_code}' "http://127.0.0.1:$beside_http/")" = 404 ] || fail "no 404 without documents"
run beside-dump encke-dump -p "$beside_http" -r a
beside_dump=$pid
until_ subscribed "$beside_http" a
ENCKE_SECRET='open sesame' "$bin/encke-dump" -p "$secret_http" -u you -n 1 a > "$work/with.out" 2> "$work/with.err" &
dump=$!
pids="$pids $dump"
until_ sh -c "curl -sS --noproxy '*' -u 'me:open sesame' http://127.0.0.1:$secret_http/stats | grep -q '^channel a: 1 sub'"
says 0 '' encke-send -p "$secret_http" -u 'me:open sesame' -m inside a
ends $dump 0
has with.out '^a text/plain me ' && has with.out '^inside$' || fail "another message"
says 0 '' encke-send -p "$beside_http" -m 'the other bus' a
until_ has beside-dump.out 'the other bus'
! has beside-dump.out inside || fail "the buses are not apart"
kill "$secret" $beside_dump
ends $beside_dump 0
ends "$secret" 0

begin "what is kept, and pages of other origins"
bus kept -l 127.0.0.1 -p 0 --history 3 --history-bytes 1000 --history-age 600 --slow drop-old --backlog 5000 --cors
printf '%s\n' 1 2 3 4 5 | timeout 30 "$bin/encke-send" -p "$http" -L kept || fail "send"
stats "$http" | grep -q '^channel kept: 0 subscribers, 5 published, 3 kept$' || fail "not three"
allowed() { get -o /dev/null -D - -H 'Origin: http://elsewhere.example' -H 'Content-Type: text/plain' -d x "http://127.0.0.1:$1/msgbus/a" | grep -qi '^access-control-allow-origin: \*'; }
allowed "$http" || fail "a page of another origin may not publish"
! allowed "$beside_http" || fail "it may without --cors"
kill "$bus"
ends "$bus" 0

begin "load: many subscriptions, nothing missing"
run sub encke-sub -p "$beside_http" -n 200 -m 300 -1 -i 0
sub=$pid
until_ has sub.out '^subscribed=200 '
says 0 'sent=300 acknowledged=300 returned=0' encke-pub -p "$beside_http" -r 400 -n 300 -i 0
ends $sub 0
has sub.out ' delivered=60000 .*gaps=0 disorder=0 malformed=0 lost=0 failed=0' || fail "something is missing"

begin "a second signal ends it at once"
mkfifo "$work/slow"
get -X POST -H 'Content-Type: text/plain' -T - "http://127.0.0.1:$beside_http/msgbus/a" < "$work/slow" > "$work/slow.out" 2>&1 &
client=$!
pids="$pids $client"
exec 4> "$work/slow"
printf 'begun' >&4
until_ sh -c "curl -sS --noproxy '*' http://127.0.0.1:$beside_http/stats | grep -q '^connections 2\$'"
kill "$beside"
refuses() { ! get -o /dev/null "http://127.0.0.1:$1/stats"; }
until_ refuses "$beside_http"
kill "$beside"
ends "$beside" 1
exec 4>&-
wait $client || :

# ---- kill -9 in the middle ----

begin "kill -9 in the middle of traffic"
bus before -l 127.0.0.1 -p 0
port=$http
mkfifo "$work/fifo"
"$bin/encke-send" -p "$port" -L -w 60 traffic < "$work/fifo" 2> "$work/sender.err" &
sender=$!
pids="$pids $sender"
exec 5> "$work/fifo"
run traffic encke-dump -p "$port" -j traffic
dump=$pid
until_ subscribed "$port" traffic
i=0
more() { n=$((i + $1)); while [ $i -lt $n ]; do i=$((i + 1)); echo "line $i" >&5; done; }
more 500
until_ lines traffic.out 100
kill -9 "$bus"
wait "$bus" || :
more 500 # nobody is there: the sender keeps them
until_ has traffic.err 'trying again'
bus after -l 127.0.0.1 -p "$port"
until_ subscribed "$port" traffic
more 500
exec 5>&-
until_ has traffic.out "\"line $i\""
ends $sender 0
has traffic.err 'connected' || fail "the dump does not say that it is back"
kill $dump
ends $dump 0
# What the new bus took after the dump was back is all there and in order; nothing comes that was not sent.
tail -n 500 "$work/traffic.out" | sed 's/.*"line \([0-9]*\)".*/\1/' > "$work/numbers"
seq $((i - 499)) "$i" | cmp - "$work/numbers" || fail "lines are missing or out of order"
kill "$bus"
ends "$bus" 0

# ---- a new bus in the place of an old one ----

begin "a new bus takes the port while the old one still ends"
bus leaving -l 127.0.0.1 -p 0 --unix "$work/upgraded"
leaving=$bus port=$http
mkfifo "$work/upload"
get -o /dev/null -w '%{http_code}' -X POST -H 'Content-Type: text/plain' -T - "http://127.0.0.1:$port/msgbus/a" < "$work/upload" > "$work/upload.out" 2>&1 4>&- &
client=$!
pids="$pids $client"
exec 4> "$work/upload"
printf 'begun' >&4
run moved encke-dump -p "$port" -j moved
moved=$pid
run moved-unix encke-dump -l "unix:$work/upgraded" -j moved
moved_unix=$pid
until_ subscribed "$port" moved 2
says 0 '' encke-send -p "$port" -m 'to the old one' moved
says 1 'Address already in use' encke-bus -l 127.0.0.1 -p "$port"
kill "$leaving"
until_ refuses "$port"
bus taking -l 127.0.0.1 -p "$port" --unix "$work/upgraded"
until_ subscribed "$port" moved 2
kill -0 "$leaving" || fail "the old one did not wait for what is under way"
says 0 '' encke-send -p "$port" -m 'to the new one' moved
printf ' and done' >&4
exec 4>&-
wait $client || :
[ "$(cat "$work/upload.out")" = 204 ] || fail "what the old one had begun"
ends "$leaving" 0
for name in moved moved-unix; do
  until_ has $name.out 'to the new one'
  [ "$(sed 's/.*"data":"\(.*\)"}/\1/' "$work/$name.out" | tr '\n' ,)" = 'to the old one,to the new one,' ] || fail "$name: other messages"
  has $name.err 'messages may have been missed' || fail "$name: the new one has no history of the old one"
done
kill $moved $moved_unix "$bus"
ends "$bus" 0

begin "two buses on one socket: the old one goes, nobody is refused"
cat > "$work/supervisor.py" << 'EOF'
import os, signal, socket, sys
program, work, names = sys.argv[1], sys.argv[2], sys.argv[3:]
s = socket.create_server(("127.0.0.1", 0), backlog=128)
def start(*_):
    name = names.pop(0)
    pid = os.fork()
    if pid == 0:
        os.dup2(s.fileno(), 3)
        os.set_inheritable(3, True)
        for fd, end in (1, "out"), (2, "err"):
            os.dup2(os.open(f"{work}/{name}.{end}", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), fd)
        os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="http")
        os.execv(program, [program, "--stats", "/stats"])
    open(f"{work}/{name}.pid", "w").write(f"{pid}\n")
signal.signal(signal.SIGUSR1, start)
start()
while True:
    try:
        pid, status = os.waitpid(-1, 0)
        open(f"{work}/ended.{pid}", "w").write(f"{status}\n")
    except ChildProcessError:
        break
EOF
python3 "$work/supervisor.py" "$bin/encke-bus" "$work" first-bus second-bus &
supervisor=$!
pids="$pids $supervisor"
until_ has first-bus.out '^ready$'
first_bus=$(cat "$work/first-bus.pid")
pids="$pids $first_bus"
port=$(sed -n 's|^listening on http://127.0.0.1:\([0-9]*\)/.*|\1|p' "$work/first-bus.out")
mkfifo "$work/lines"
"$bin/encke-send" -p "$port" -L -w 60 upgrade < "$work/lines" 2> "$work/lines.err" &
sender=$!
pids="$pids $sender"
exec 5> "$work/lines"
run upgrade encke-dump -p "$port" -j upgrade
dump=$pid
get -N "http://127.0.0.1:$port/msgbus/upgrade" > "$work/old-client.out" 2>&1 5>&- &
old_client=$!
pids="$pids $old_client"
until_ subscribed "$port" upgrade 2
i=0
more 300
until_ has upgrade.out '"line 300"'
kill -USR1 "$supervisor"
until_ has second-bus.out '^ready$'
second_bus=$(cat "$work/second-bus.pid")
pids="$pids $second_bus"
kill "$first_bus"
more 300 # some are the first one's, some the second one's; none is refused
until_ [ -s "$work/ended.$first_bus" ]
[ "$(cat "$work/ended.$first_bus")" = 0 ] || fail "the first one did not end well"
wait $old_client || fail "the stream of an old client did not end well"
[ "$(grep -c '^line ' "$work/old-client.out")" -ge 300 ] || fail "an old client got less than was published before"
until_ subscribed "$port" upgrade
more 300
exec 5>&-
until_ has upgrade.out "\"line $i\""
ends $sender 0
[ ! -s "$work/lines.err" ] || ! grep -q refused "$work/lines.err" || fail "the sender was refused"
! has upgrade.err refused || fail "the dump was refused"
kill $dump
ends $dump 0
tail -n 300 "$work/upgrade.out" | sed 's/.*"line \([0-9]*\)".*/\1/' > "$work/numbers"
seq $((i - 299)) "$i" | cmp - "$work/numbers" || fail "lines are missing or out of order"
kill "$second_bus"
until_ [ -s "$work/ended.$second_bus" ]
[ "$(cat "$work/ended.$second_bus")" = 0 ] || fail "the second one did not end well"

# ---- the system ----

begin "another user"
if [ "$(id -u)" = 0 ] && [ -r /proc/self/status ]; then
  cat > "$work/groups.py" << 'EOF'
import os, sys
os.setgroups([0, 1, 2])
os.execv(sys.argv[1], sys.argv[1:])
EOF
  becomes() { # becomes USER UID GID GROUPS: from a root with groups
    python3 "$work/groups.py" "$bin/encke-bus" -l 127.0.0.1 -p 0 -u "$1" > "$work/user-$1.out" 2> "$work/user-$1.err" &
    bus=$!
    pids="$pids $bus"
    until_ has "user-$1.out" '^ready$'
    tr '\t' ' ' < "/proc/$bus/status" > "$work/status.out"
    has status.out "^Uid: $2 $2 $2 $2\$" && has status.out "^Gid: $3 $3 $3 $3\$" && has status.out "^Groups: *$4 *\$" || fail "who is it?"
    says 0 '' encke-send -p "$(sed -n 's|^listening on http://.*:\([0-9]*\)/.*|\1|p' "$work/user-$1.out")" -m x a
    kill "$bus"
    ends "$bus" 0
  }
  becomes nobody "$(id -u nobody)" "$(id -g nobody)" "$(id -g nobody)"
  becomes 54321 54321 54321 ''
else
  says 1 'setgroups\|there is no user' encke-bus -l 127.0.0.1 -p 0 -u daemon
fi

begin "sockets of systemd"
cat > "$work/activate.py" << 'EOF'
import os, socket, sys
s = socket.create_server(("127.0.0.1", 0))
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="http")
os.execv(sys.argv[1], sys.argv[1:])
EOF
python3 "$work/activate.py" "$bin/encke-bus" --stats /stats > "$work/passed.out" 2> "$work/passed.err" &
bus=$!
pids="$pids $bus"
until_ has passed.out '^ready$'
[ "$(grep -c '^listening' "$work/passed.out")" = 1 ] || fail "it listens elsewhere too"
http=$(sed -n 's|^listening on http://127.0.0.1:\([0-9]*\)/.*|\1|p' "$work/passed.out")
says 0 '' encke-send -p "$http" -m x a
kill "$bus"
ends "$bus" 0

echo "tools: $passed passed, 0 failed"
