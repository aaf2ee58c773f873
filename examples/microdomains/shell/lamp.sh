#!/bin/sh
# lamp.sh: a lamp that is a microdomain of the house, in a few lines of shell.
#   ./lamp.sh lamp-2 -h 192.168.1.2 -u lamp-2 -P secret    (options of mosquitto)
node=${1:?usage: lamp.sh NODE [-h HOST -p PORT -u USER -P PASSWORD ...]} && shift
on=${DOMINION_BASE:-dominion}/$node
server="$*"
# shellcheck disable=SC2086  # options are words
say() { mosquitto_pub $server -q 1 -t "$on/$1" -m "$2" $3; }
answer() { # ID STATUS MORE
	last=$1 again="{\"v\":1,\"id\":\"$1\",\"status\":\"$2\",$3}"
	say "event/reply/$1" "$again"
}
while sleep 1; do # now and then, since brokers forget; presence comes last
	say state/service/lamp '{"v":1,"service":"lamp","phase":"running","ready":true,"restarts":0}' -r
	say state/info '{"v":1,"kind":"micro","services":{"lamp":"1.0.0"},"methods":["blink","ping"]}' -r
	say state/presence '{"v":1,"state":"online"}' -r
	sleep 29
done &
trap 'trap "" TERM; say state/presence "{\"v\":1,\"state\":\"stopped\"}" -r; kill 0; exit' INT TERM EXIT
# shellcheck disable=SC2086
mosquitto_sub $server -q 1 -i "$node-sh" -R -F '%t %p' -t "$on/command/#" \
	--will-topic "$on/state/presence" --will-payload '{"v":1,"state":"lost"}' --will-qos 1 --will-retain |
while read -r topic payload; do
	id=$(echo "$payload" | sed -n 's/.*"id" *: *"\([A-Za-z0-9_-]*\)".*/\1/p')
	[ -n "$id" ] || id=sh$(date +%s)
	case "$payload $topic $last" in
	" "*) say event/error/command '{"v":1,"code":"EMPTY","text":"an empty payload is no command: send one word"}' ;;
	*" $id") say "event/reply/$id" "$again" ;; # the last command, once more
	*/command/ping/host\ *) answer "$id" "done" '"result":"pong"' ;;
	*/command/blink/host\ *) echo blink && answer "$id" "done" '"result":"blinked"' ;;
	*) answer "$id" refused '"why":{"code":"UNKNOWN_METHOD","text":"this lamp can ping and blink"}' ;;
	esac
done &
wait
