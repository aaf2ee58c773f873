// Package broker is the house's own MQTT server: mochi-mqtt behind a listener,
// a delivery, a retained store and guards of ours.
//
// mochi is used as a library and never as shipped. Left alone, one malformed
// packet ends the whole process, one subscriber that stops reading freezes its
// publishers, a takeover can leave a client that hears nothing, and retained
// messages vanish after a day. What is left to it: it encodes and decodes
// packets, answers them, and keeps clients, subscriptions, what is in flight and
// what is retained. What it is asked to do is hooks.go, the table of contents:
// what mochi calls, and which guard answers. mochi appears in no signature of
// this package, so that another server can take its place.
//
// The way of a message:
//
//	accept.go, websocket.go, pipe.go   a connection comes in: conn.go, server.go
//	secure.go, connect.go, crash.go    its handshake, its CONNECT, its goroutine
//	malformed.go, gather.go            bytes become packets that mochi may see
//	access.go, arrivals.go, quota.go   a PUBLISH is judged, and named by its own id
//	delivery.go, audience.go           it is retained and sent to its subscribers
//	flow.go, resume.go, replay.go      or waits: for its turn behind what comes first
//	backlog.go, slow.go                not for ever
//	outbox.go, parting.go              and is written, to the last word
//
// Sessions are taken over in takeover.go and end in expiry.go, with their wills in
// wills.go; who somebody is is in identify.go and guesses.go; what is retained is
// kept by store.go in a volume.go, whose file storefile.go and pages.go read
// before bbolt does.
//
// The broker knows who may write what only through Rules, and who somebody is
// only through Accounts; nothing of services, nodes or plans.
package broker
