// Package topics holds the words of Dominion's protocol as Go types: names,
// topics, payloads, and who may write and read what.
//
// Everything a house knows is a message on one MQTT base:
//
//	<base>/<node>/state/…      retained   written only by <node> and its last will
//	<base>/<node>/event/…      never      written only by <node>
//	<base>/<node>/desired/…    retained   written only by the leading coordinator
//	<base>/<node>/command/…    never      written by coordinator, operators, Home Assistant
//	<base>/service/<service>/… free       the service's own data
//	<prefix>/device/…          retained   Home Assistant MQTT discovery
//
// Payloads are flat JSON objects in UTF-8 with "v":1. Readers ignore fields
// they do not know and refuse only when a field they need is missing or has
// the wrong type; writers leave out what they do not know. docs/protocol.md
// has the whole table with one checked example each.
//
// The package decides nothing and does no I/O. It imports the standard
// library and a semver parser only.
package topics
