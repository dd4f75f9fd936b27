#!/bin/sh
# Run nginx, and reload it without losing a request when a file or the address of a service changes.
#
# FILES, ACCESS, TOKENS, KEYS, CERTIFICATE, ROUTES, RELEASES and SERVICES name files and folders; SERVICES has lines "name host port".
# ACME_CERTIFICATE is a folder with files in place of those in CERTIFICATE, once an ACME directory has issued them.
# STATE is a writable folder. LINES_FOLDER has files of lines, each of about LINES_BYTES, which line_sender.py sends to the audit log.
# The other variables are values of the configuration.
set -eu
mkdir -p "$STATE"
rm -f "$LINES_FOLDER/ended" "$STATE/messages"
mkfifo "$STATE/messages"
for name in FILES STATE LINES_FOLDER ACCESS KEYS ROUTES RELEASES THUMBPRINT ADDRESS HTTP_PORT HTTPS_PORT HTTPS_SUFFIX SIGN_ON_PORT \
  SIGN_ON_STEPS RATE; do
  echo "s~@$name@~$(printenv "$name")~g"
done > "$STATE/values.sed"

# Write upstreams.conf. nginx does not start with a name that is unknown: such a service gets no address yet.
# getent does not say whether DNS answered, so a service keeps its last address. A silent DNS must not delay other changes.
# A service is listed twice, so that a request is repeated on a new connection after its pod has ended.
resolve() {
  while read -r name host port; do
    address=$(timeout 3 getent ahostsv4 "$host" | awk 'NR == 1 { print $1 }')
    if [ -n "$address" ]; then
      peer="server $address:$port max_fails=0;"
      echo "upstream $name { $peer $peer keepalive 32; } # $host $port"
    else
      grep -s "^upstream $name .* # $host $port\$" "$STATE/upstreams.conf" || echo "upstream $name { server 127.0.0.1:1 down; }"
    fi
  done < "$SERVICES" > "$STATE/upstreams.conf.new"
  mv "$STATE/upstreams.conf.new" "$STATE/upstreams.conf"
}

# Let nginx begin a new file of lines after LINES_BYTES. The sender deletes closed files.
# While the audit log is away, the oldest lines are kept: a flood of requests must not push out what happened before it.
close_lines() {
  [ "$(wc -c < "$LINES_FOLDER/current.log")" -gt "$LINES_BYTES" ] || return 0
  closed="$LINES_FOLDER/$(date +%s).closed"
  [ ! -e "$closed" ] || return 0
  set -- "$LINES_FOLDER"/*.closed
  if [ $# -lt 12 ]; then
    mv "$LINES_FOLDER/current.log" "$closed"
  else
    printf '{"id":"%s","time":"%s","left_out":%d}\n' "$(cat /proc/sys/kernel/random/uuid)" "$(date -u +%FT%TZ)" \
      "$(wc -l < "$LINES_FOLDER/current.log")" >> "$LINES_FOLDER/left_out.log"
    rm "$LINES_FOLDER/current.log"
  fi
  kill -USR1 "$server"
}

configure() {
  # Read before the files are used: if they change meanwhile, the door serves newer files than it says.
  settings=$(cat "$SERVICES" "$ROUTES" "$RELEASES" "$ACCESS" | sha256sum | cut -d ' ' -f 1)
  resolve
  unknown=$(grep -c "127.0.0.1:1 down" "$STATE/upstreams.conf") || true
  # No token has been made yet if the file is missing. nginx may read the files at any time, so each is replaced at once.
  cat "$TOKENS" > "$STATE/tokens.json.new" 2>/dev/null || echo '{}' > "$STATE/tokens.json.new"
  mv "$STATE/tokens.json.new" "$STATE/tokens.json"
  pair=$CERTIFICATE
  [ ! -e "$ACME_CERTIFICATE/tls.crt" ] || pair=$ACME_CERTIFICATE
  sed -f "$STATE/values.sed" -e "s~@CERTIFICATE@~$pair~g" -e "s~@DIGEST@~$settings~;s~@UNKNOWN@~$unknown~" "$FILES/nginx.conf" > "$STATE/nginx.conf.new"
  mv "$STATE/nginx.conf.new" "$STATE/nginx.conf"
}

digest() {
  cat "$STATE/nginx.conf" "$STATE/upstreams.conf" "$STATE/tokens.json" "$FILES"/* "$ACCESS" "$KEYS" "$ROUTES" "$RELEASES" "$pair"/tls.* | cksum
}

configure
served=$(digest)
# A message of nginx has the addresses of its request, whose queries may have secrets.
sed -u 's/?[^ ]*/?.../g' < "$STATE/messages" >&2 &
nginx -e stderr -c "$STATE/nginx.conf" 2> "$STATE/messages" &
server=$!
# nginx ends its open requests before it exits on QUIT.
trap 'sleep "${DRAIN_SECONDS:-0}"; kill -QUIT "$server"; wait "$server"; : > "$LINES_FOLDER/ended"; exit 0' TERM INT
while kill -0 "$server" 2>/dev/null; do
  sleep "$INTERVAL_SECONDS" &
  wait $! || true
  close_lines
  configure
  found=$(digest)
  if [ "$found" != "$served" ] && nginx -e stderr -t -q -c "$STATE/nginx.conf"; then
    kill -HUP "$server"
    served=$found
  fi
done
wait "$server"
