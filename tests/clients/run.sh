#!/bin/sh
# run.sh EXAMPLES WORK [curl]: outside clients of server push against the example programs of a build, and encke-bus beside them; then encke-dump with outside servers; with "curl" nothing
# but curl, which is here anyway. What a system does not have is named and left out. The last line is the sum.
set -u
here=$(cd "$(dirname "$0")" && pwd)
examples=$(cd "${1:?usage: run.sh EXAMPLES WORK [curl]}" && pwd)
work=${2:?usage: run.sh EXAMPLES WORK [curl]} only=${3:-}
mkdir -p "$work" && work=$(cd "$work" && pwd)
dump=$examples/../tools/encke-dump
passed=0 failed=0 started=
stop() { for pid in $started; do kill "$pid" 2> /dev/null; done; }
trap stop EXIT INT TERM

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
start() { # start PROGRAM ADDRESS PORT
  "$examples/$1" "$2" > "$work/$1.log" 2>&1 &
  started="$started $!"
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    curl -s -o /dev/null "http://127.0.0.1:$3/" && return 0
    sleep 0.25
  done
  echo "$1 does not start" && cat "$work/$1.log" && exit 1
}
count() { # count COMMAND...: one whose last line is "name: N passed, N failed"
  "$@" > "$work/out" 2>&1
  cat "$work/out"
  sum=$(tail -n 1 "$work/out" | sed -n 's/^[a-z]*: \([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p')
  [ -n "$sum" ] || sum='0 1'
  passed=$((passed + ${sum% *})) failed=$((failed + ${sum#* }))
}

if ! command -v curl > /dev/null || ! command -v python3 > /dev/null; then
  echo 'clients: no curl or no python3 here: left out'
  echo '0 passed, 0 failed'
  exit 0
fi
chat=$(free_port) camera=$(free_port) testbed=$(free_port)
start chat "127.0.0.1:$chat" "$chat"
start camera "127.0.0.1:$camera" "$camera"
start testbed "$testbed" "$testbed"

count sh "$here/curl.sh" "$chat" "$testbed"
if [ "$only" != curl ]; then
  if python3 -m venv "$work/venv" > "$work/venv.log" 2>&1 &&
    "$work/venv/bin/pip" install --quiet websockets httpx httpx-sse >> "$work/venv.log" 2>&1; then
    count "$work/venv/bin/python" "$here/python.py" "$chat" "$testbed"
    [ ! -x "$dump" ] || count "$work/venv/bin/python" "$here/servers.py" "$dump"
  else
    echo "python: left out, no packages (see $work/venv.log)"
  fi
  cp "$here"/package.json "$here"/*.mjs "$work"
  if command -v npm > /dev/null && (cd "$work" && npm install --no-audit --no-fund --ignore-scripts) > "$work/npm.log" 2>&1; then
    count node "$work/node.mjs" "$chat" "$testbed"
    [ ! -x "$dump" ] || count node "$work/servers.mjs" "$dump"
    if [ -x "${CHROMIUM:-/usr/bin/chromium}" ]; then
      rm -rf "$work/profile"
      count node "$work/browser.mjs" "$chat" "$camera" "$work"
      if [ -x "$examples/../tools/encke-bus" ]; then
        rm -rf "$work/profile-bus"
        count node "$work/bus.mjs" "$examples/../tools/encke-bus" "$here/../../tools/chatdemo" "$work"
      else
        echo 'bus: left out, this build has no encke-bus'
      fi
    else
      echo 'browser: left out, no chromium'
    fi
  else
    echo "node, browser: left out, no packages (see $work/npm.log)"
  fi
fi
echo "$passed passed, $failed failed"
[ $failed = 0 ]
