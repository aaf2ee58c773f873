// Package broker is the house's own MQTT server: mochi-mqtt behind a listener,
// a retained store and guards of ours.
//
// mochi is used as a library and never as shipped. Left alone, one malformed
// packet ends the whole process, one subscriber that stops reading freezes its
// publishers, a takeover can leave a client that hears nothing, and retained
// messages vanish after a day. Each file here guards against one of these and
// is named after it; hooks.go is the table of contents: what mochi calls, and
// which guard answers. mochi appears in no signature of this package, so that
// another server can take its place.
//
// The broker knows who may write what only through Rules, and who somebody is
// only through Accounts; nothing of services, nodes or plans.
package broker
