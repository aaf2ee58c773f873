#!/bin/sh
# A counter: it publishes its state every two seconds. Needs mosquitto-clients.
set -eu

# say TOPIC PAYLOAD [FLAG]: publishes below the service's own topic.
say() {
	mosquitto_pub ${DOMINION_CA:+--cafile "$DOMINION_CA"} -L "$DOMINION_URL/$SERVICE_TOPIC/$1" -m "$2" ${3:-}
}

# TERM ends it: it takes its leave. make and its shell get TERM too.
trap 'say state "{\"count\":$count,\"on\":false}" -r; exit 0' TERM INT

count=0
while :; do
	say state "{\"count\":$count,\"on\":true}" -r
	[ $count -gt 0 ] || say ready "$START_ID" -r
	say alive "$START_ID"
	count=$((count + 1))
	sleep 2 & wait $! # a trap waits for a command to end, but not for wait
done
