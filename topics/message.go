package topics

// Message is one MQTT publish, outgoing or incoming.
type Message struct {
	Topic   string
	Payload []byte
	QoS     byte
	// Retained asks the broker to keep an outgoing message. On an incoming one
	// it says that the message is a replay of what was kept, not news.
	Retained bool
}

// Limits of payloads in bytes. What is longer is refused with its size.
const (
	MaxCommand = 64 << 10
	MaxPayload = 1 << 20
)

// Link is a change of a node's connection, as its client tells the room.
type Link int

// The changes, in the order of one session: Up, then the retained replay as
// messages, then Synced, then news as messages, then Down.
const (
	LinkNone Link = iota
	LinkUp
	LinkSynced
	LinkDown
)

// Inbound is what a client hands its room, in the order it happened: a change
// of the link, a command to run, or a message.
type Inbound struct {
	Link    Link    // not LinkNone: a change of the link, and nothing else is set but Sid
	Sid     Sid     // the session it belongs to
	Message Message // the message, also beside Request
	Request *Request
}
