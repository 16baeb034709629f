#!/bin/sh
# serve-once.sh ARGS: starts `fn serve ARGS` in a place of its own, deploys a function, calls it, prints the reply and stops the server.
# A server that refuses to start: prints what it said, and ends with its exit code.
set -eu
here=$(dirname "$0")
place=$(mktemp -d)
# What is deployed is unpacked so that not even its owner writes to it.
trap 'chmod -R u+w "$place" && rm -rf "$place"' EXIT
socket=$place/admin.sock
"$here/fn" serve --listen 127.0.0.1:0 --state-dir "$place/state" --admin-socket "$socket" "$@" > "$place/log" 2>&1 &
server=$!
while ! curl --silent --max-time 10 --output /dev/null --unix-socket "$socket" http://localhost/v1/info; do
    if ! kill -0 "$server" 2> /dev/null; then
        cat "$place/log"
        code=0
        wait "$server" || code=$?
        exit "$code"
    fi
    sleep 0.2
done
code=0
"$here/fn" deploy "$here/examples/hello-shell" --name once --admin-socket "$socket" > "$place/said" 2>&1 \
    && "$here/fn" invoke once --data Ada --admin-socket "$socket" >> "$place/said" 2>&1 || code=$?
cat "$place/said" "$place/log"
kill "$server"
wait "$server" || code=$?
exit "$code"
