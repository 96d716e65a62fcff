#!/bin/sh
# certificate.sh DIRECTORY: certificate.pem and key.pem for trying HTTPS on this machine: for localhost, 127.0.0.1 and ::1, signed
# by itself, good for 30 days. Made anew when less than a day of it is left, else left as it is.
# Rule: only the owner can read the directory; nothing is ever added to what the system or a browser trusts.
set -eu
dir=${1:?usage: certificate.sh DIRECTORY}
umask 077
mkdir -p "$dir"
chmod 700 "$dir"
if [ -s "$dir/key.pem" ] && openssl x509 -in "$dir/certificate.pem" -noout -checkend 86400 > /dev/null 2>&1; then
  exit 0
fi
command -v openssl > /dev/null 2>&1 || { echo "certificate.sh: openssl is missing, no certificate can be made" >&2; exit 1; }
new=$(mktemp -d "$dir/new.XXXXXX")
trap 'rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM
cat > "$new/config" << 'END'
[req]
prompt = no
distinguished_name = name
x509_extensions = extensions
[name]
CN = localhost
[extensions]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectAltName = DNS:localhost, IP:127.0.0.1, IP:::1
END
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -config "$new/config" \
  -keyout "$new/key.pem" -out "$new/certificate.pem" > "$new/log" 2>&1 || { cat "$new/log" >&2; exit 1; }
mv "$new/key.pem" "$new/certificate.pem" "$dir/"
