#!/bin/sh
# A counter: it publishes its state every two seconds. Needs mosquitto-clients.
set -u

# say TOPIC PAYLOAD [FLAG]: publishes below the service's own topic. Without a
# broker it ends, and is started again. TERM ends mosquitto_pub too.
say() {
	mosquitto_pub ${DOMINION_CA:+--cafile "$DOMINION_CA"} -L "$DOMINION_URL/$SERVICE_TOPIC/$1" -m "$2" ${3:-} ||
		[ -n "$ended" ] || exit 1
}

ended=
trap 'ended=yes' TERM INT
count=0
while [ -z "$ended" ]; do
	say state "{\"count\":$count,\"on\":true}" -r
	[ $count -gt 0 ] || say ready "$START_ID" -r
	say alive "$START_ID"
	count=$((count + 1))
	[ -n "$ended" ] || { sleep 2 & wait $!; } # a trap waits for a command to end, but not for wait
done
say state "{\"count\":$count,\"on\":false}" -r # its leave
