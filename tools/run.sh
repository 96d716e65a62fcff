#!/bin/sh
# run.sh BUILD HTTP-ADDRESS HTTPS-ADDRESS: the message bus with the chat demo, as built in BUILD, and what to try with it.
# Rule: on this machine alone unless the addresses say otherwise; the certificate is made here and trusted by nobody else.
set -eu
[ $# = 3 ] || { echo "usage: run.sh BUILD HTTP-ADDRESS HTTPS-ADDRESS" >&2; exit 2; }
build=$1 http=$2 https=$3
programs=$build/tools
certificate=$build/certificate
here=$(dirname "$0")
shown() { echo "$1" | sed 's/^127\.0\.0\.1:/localhost:/'; } # as the certificate and habit call it
set -- --listen "$http" -d "$here/chatdemo" --stats /stats
tls=
if sh "$here/../cmake/certificate.sh" "$certificate"; then
  set -- "$@" --listen-tls "$https" -c "$certificate/certificate.pem" --tls-key "$certificate/key.pem"
  tls=yes
else
  echo 'without HTTPS, then'
fi
cat << END
open http://$(shown "$http")/ in two windows: a chat over the message bus
or try, in other terminals:
a subscriber, and a publisher
  curl -N http://$http/msgbus/news
  curl -H 'Content-Type: text/plain' -d hello http://$http/msgbus/news
the same channel as server-sent events
  curl -N -H 'Accept: text/event-stream' http://$http/msgbus/news
with the programs: everything that is published, and somebody who says something in the chat
  $programs/encke-dump http://$http/msgbus/
  $programs/encke-send -m 'shell: hello' http://$http/msgbus/chatdemo
END
[ -z "$tls" ] || cat << END
over TLS (at https://$(shown "$https")/ a browser will doubt a certificate made at home)
  $programs/encke-send -C $certificate/certificate.pem -m 'shell: hello' https://$(shown "$https")/msgbus/chatdemo
END
cat << END
a thousand subscriptions and a hundred messages a second, and what the bus has to say about itself
  $programs/encke-sub -l ${http%:*} -p ${http##*:} -n 1000 -d 10 & $programs/encke-pub -r 100 -d 8 http://$http/msgbus/flood; wait; curl http://$http/stats

END
exec "$programs/encke-bus" "$@" -v
