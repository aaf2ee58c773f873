package broker

import (
	"time"

	"github.com/rs/zerolog"

	"dominion/topics"
)

// Rules say what a client may do and what is kept. topics.Space is one.
type Rules interface {
	// MayWrite tells whether a message, or a will, may be published on a topic.
	MayWrite(who topics.Identity, topic string) bool
	// MayEmpty tells whether what is retained on a topic may be cleared.
	MayEmpty(who topics.Identity, topic string) bool
	// MayRead tells whether every topic that a filter matches may be read.
	MayRead(who topics.Identity, filter string) bool
	// Retainable tells whether a message on a topic may be retained at all.
	Retainable(topic string) bool
	// Durable tells whether a retained message belongs on the disk.
	Durable(topic string) bool
}

// Options is what a Server is made of. Every zero number or duration means the
// default beside it, no Rules those of the default house, topics.Space{}.
type Options struct {
	Listen []string // TCP addresses as "127.0.0.1:1883"; empty: only Pipe connects
	Data   string   // directory of retained.db, made when it is missing; empty: retained messages live in memory
	Rules  Rules

	// Anonymous is what a client without credentials may be, all of it at once:
	// a client on a loopback address, and with AllowInsecure any client.
	// Nobody else is let in; as there are no accounts, a user name and password
	// that a client sends are not looked at.
	Anonymous     []topics.Identity
	AllowInsecure bool

	Log zerolog.Logger
	// Refused is told of everything that was refused, in the goroutine of the
	// client: it must not block. It may be nil.
	Refused func(Refusal)

	FlushEvery     time.Duration // 100 ms: a retained message is on the disk at most this much, and one fsync, later
	ConnectTimeout time.Duration // 5 s: from accept to a whole CONNECT
	WriteTimeout   time.Duration // 2 s: for one write to a client; it is what a stuck subscriber costs a publisher, once
	TakeoverWait   time.Duration // 5 s: for the end of an older session with the same client id
	MaxKeepAlive   time.Duration // 1 h: longer ones, and none, become this
	SessionExpiry  time.Duration // 2 h: how long a session is kept for a client that is gone
	MaxConnections int           // 1,000 over all listeners; pipes are not counted
	MaxPacket      int           // 1 MiB and 64 KiB for topic and properties
	MaxLevels      int           // 32 levels in a topic or filter
	MaxPending     int           // 4,096 messages waiting for one client
}

func (o Options) withDefaults() Options {
	if o.Rules == nil {
		o.Rules = topics.Space{}
	}
	orElse(&o.FlushEvery, 100*time.Millisecond)
	orElse(&o.ConnectTimeout, 5*time.Second)
	orElse(&o.WriteTimeout, 2*time.Second)
	orElse(&o.TakeoverWait, 5*time.Second)
	orElse(&o.MaxKeepAlive, time.Hour)
	orElse(&o.SessionExpiry, 2*time.Hour)
	orElse(&o.MaxConnections, 1000)
	orElse(&o.MaxPacket, topics.MaxPayload+64<<10)
	orElse(&o.MaxLevels, 32)
	orElse(&o.MaxPending, 4096)
	return o
}

func orElse[T int | time.Duration](v *T, otherwise T) {
	if *v <= 0 {
		*v = otherwise
	}
}

// Deed is what was refused.
type Deed string

// The deeds.
const (
	Connecting  Deed = "connect"
	Publishing  Deed = "publish"
	Subscribing Deed = "subscribe"
	Willing     Deed = "will" // the CONNECT that carried the will was refused
)

// Refusal is one thing that a client wanted and was not let do.
type Refusal struct {
	What   Deed
	Client string            // client id
	Remote string            // its address
	Who    []topics.Identity // what it may be; empty: it was not let in
	Topic  string            // topic, or filter of a subscription; empty for Connecting
	Why    string            // a few words, for people
}
