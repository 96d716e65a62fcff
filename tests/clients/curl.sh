#!/bin/sh
# curl.sh CHAT TESTBED (ports): what the examples promise of curl. Ends with "curl: N passed, N failed".
set -u
chat=http://127.0.0.1:$1 testbed=http://127.0.0.1:$2 passed=0 failed=0
check() { # check NAME FOUND WANTED
  if [ "$2" = "$3" ]; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "FAILED $1: '$2' instead of '$3'"; fi
}
events=$(curl -sN -m 20 "$testbed/events")
check 'five events, ended well' "$?:$(echo "$events" | grep -c '^data: '):$(echo "$events" | grep -c '^event: tick'):$(echo "$events" | grep -c '^retry: ')" 0:8:3:1
check 'ids count on' "$(curl -sN -m 20 -H 'Last-Event-ID: 7' "$testbed/events" | sed -n 's/^id: //p' | tr '\n' ' ')" '8 9 10 11 12 '
check 'a picture that changes' "$(curl -sN -m 2 "$testbed/mjpeg" | grep -ac '^Content-Type: image/bmp' | awk '{print ($1 >= 3)}')" 1
check 'CORS is closed' "$(curl -s -o /dev/null -w '%{http_code}' -H 'Origin: http://evil.example' "$testbed/events")" 403
room="$chat/room/curl?name=curl"
first=$(curl -s -m 20 "$room" -H 'Accept: application/json')
position=$(echo "$first" | sed 's/^{"position":"\([^"]*\)".*/\1/')
curl -s -d 'hello' "$chat/room/curl?name=other"
back=$(curl -s -m 20 "$room&since=$position" -H 'Accept: application/json')
case $back in *'"recovered":true'*'other: hello'*) found=yes ;; *) found=$back ;; esac
check 'a long poll comes back' "$found" yes
echo "curl: $passed passed, $failed failed"
[ $failed = 0 ]
