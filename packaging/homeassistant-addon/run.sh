#!/usr/bin/with-contenv bashio
# shellcheck shell=bash
# Makes the house at the first start, leads it, and tells Home Assistant and
# the other add-ons where its broker is. All it keeps is in /data.

export DOMINION_CONFIG_FILE=/data/dominion.toml
export XDG_DATA_HOME=/data
umask 077

# The Supervisor's network, from which other add-ons reach this one.
readonly inside=172.30.32.1

main() {
	local broker
	broker=$(bashio::config 'broker')
	if [[ ! -e $DOMINION_CONFIG_FILE ]]; then
		make_house "$broker"
	fi
	if [[ -z $broker ]]; then
		login homeassistant
		login addons
		announce &
	fi
	DOMINION_LOG_LEVEL=$(bashio::config 'log_level')
	export DOMINION_LOG_LEVEL
	exec dominion serve
}

# make_house makes it on our own broker, or on another's.
make_house() {
	local broker=$1 listen=127.0.0.1:1883
	local flags=(--yes --boot=false --name "$(bashio::config 'name')")
	if [[ -n $broker ]]; then
		bashio::config 'password' >/data/mqtt.password
		flags+=(--broker "$broker" --username "$(bashio::config 'username')" --password-file /data/mqtt.password)
	else
		if [[ -n $(ip -4 -oneline address show to "$inside") ]]; then
			listen+=,$inside:1883
		fi
		flags+=(--home-assistant=false --listen "$listen")
	fi
	dominion init "${flags[@]}"
}

# login keeps a user's password for the next start, since the house has no more
# than its hash. One whose password was lost is made anew.
login() {
	local file=/data/$1.json
	if [[ ! -s $file ]]; then
		dominion user remove "$1" >/dev/null 2>&1 || true
		dominion user add "$1" --role homeassistant --json >"$file.new"
		mv "$file.new" "$file"
	fi
}

# announce tells of the broker once it listens: Home Assistant, which is on the
# host's network too, and the Supervisor, for other add-ons.
announce() {
	bashio::net.wait_for 1883 127.0.0.1
	if bashio::discovery mqtt "$(access 127.0.0.1 homeassistant)" >/dev/null; then
		bashio::log.info "Home Assistant knows the broker now: look for it in its discovered devices."
	else
		bashio::log.warning "Home Assistant was not told of the broker: add its MQTT integration by hand (127.0.0.1, port 1883, user homeassistant, the password in this add-on's /data/homeassistant.json)."
	fi
	bashio::services.delete mqtt >/dev/null 2>&1 || true
	if ! bashio::services.publish mqtt "$(access "$inside" addons)" >/dev/null 2>&1; then
		bashio::log.warning "Other add-ons were not told of the broker: is another MQTT broker running? Then this house may better be on that one (option broker)."
	fi
}

# access is where a user reaches the broker, as the Supervisor wants it.
access() {
	bashio::var.json host "$1" port ^1883 ssl ^false protocol 3.1.1 \
		username "$2" password "$(bashio::jq "/data/$2.json" .password)"
}

main
