// Package client is a node of the house on any MQTT 3.1.1 broker: it connects,
// is born, heals what it wrote, takes commands and leaves, as docs/protocol.md
// says, so that the room behind it only reads one stream and publishes.
//
// A room reads Inbound in one goroutine. For each session it sees, in order:
// LinkUp, the retained replay, LinkSynced, news and requests, LinkDown. After
// LinkSynced it publishes what it has, and its presence last: that is its
// birth. Publish works from the moment the room took LinkSynced until the link
// is lost; before and after, it returns ErrDown. A planned end is a presence
// "stopped" from the room, and then the end of Run's context.
//
// Inside, one goroutine (Run) owns all state; what the network library calls
// only puts mail into a box that is bounded by bytes.
package client
