package broker

import (
	"crypto/tls"
	"crypto/x509"
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

// Accounts say who a client is. *identity.House is one. Both methods are called
// in clients' goroutines, many at a time, and may take as long as a slow hash;
// their errors say why in a few words, for the log and for Refusal.
type Accounts interface {
	// Password is asked for a client that sent a user name.
	Password(user, password string) (topics.Account, error)
	// Certificate is asked for a client that showed a certificate over TLS, and
	// proved that it has its key.
	Certificate(leaf *x509.Certificate) (topics.Account, error)
}

// Options is what a Server is made of. Every zero number or duration means the
// default beside it, no Rules those of the default house, topics.Space{}.
type Options struct {
	Listen    []string    // plain TCP addresses as "127.0.0.1:1883"; with ListenTLS empty too, only Pipe connects
	ListenTLS []string    // TCP addresses as ":8883" on which TLS is spoken
	TLS       *tls.Config // for ListenTLS; a client's certificate is to be asked for there, and not verified: Accounts does
	Data      string      // directory of retained.db, made when it is missing; empty: retained messages live in memory
	Rules     Rules

	// Accounts say who a client is that shows a certificate or, if it shows
	// none, sends a user name. What they refuse is refused, and does not become
	// anonymous. Without Accounts neither is looked at.
	Accounts Accounts
	// Anonymous is what a client without a login may be, all of it at once: a
	// client on a loopback address, and with AllowInsecure any client. Nobody
	// else is let in.
	Anonymous     []topics.Identity
	AllowInsecure bool

	Log zerolog.Logger
	// Refused is told of everything that was refused, in the goroutine of the
	// client: it must not block. It may be nil.
	Refused func(Refusal)
	// StoreTrouble is told when the store of retained messages cannot be written
	// (a *StoreError), again when that is another trouble or twice as many
	// messages wait, and with nil when it can be written again. It must not block.
	// It may be nil.
	StoreTrouble func(error)

	FlushEvery     time.Duration // 100 ms: a retained message is on the disk at most this much, and one fsync, later
	ConnectTimeout time.Duration // 5 s: from accept to a whole CONNECT
	WriteTimeout   time.Duration // 2 s: for one write to a client; it is what a stuck subscriber costs a publisher, once
	TakeoverWait   time.Duration // 5 s: for the end of an older session with the same client id
	MaxKeepAlive   time.Duration // 1 h: longer ones, and none, become this
	SessionExpiry  time.Duration // 2 h: how long a session is kept for a client that is gone
	MaxConnections int           // 1,000 over all listeners; pipes are not counted. Half is kept for clients that are let in: those that are not yet have a quarter if they are on this machine, and a quarter if they are not
	MaxStrangers   int           // 32 of one address (IPv6: of one /64) that are not let in yet; those on this machine have MaxConnections alone
	MaxPacket      int           // 1 MiB and 64 KiB for topic and properties
	MaxLevels      int           // 32 levels in a topic or filter
	MaxPending     int           // 4 MiB of messages waiting for one client
	MaxBacklog     int           // 32 MiB of messages of QoS 1 and 2 that one client has not acknowledged, or has not come back for
	MaxSessions    int           // 256 that wait for clients of one account; of clients without a login, of one address

	// How much may be retained. What a coordinator retains is not counted.
	MaxRetained           int // 2,000 messages of one account; of clients without a login, of one address
	MaxRetainedBytes      int // 16 MiB of the same: payloads, topics and properties
	MaxRetainedInAll      int // 50,000 messages
	MaxRetainedBytesInAll int // 256 MiB
	MaxSubscriptions      int // 1,000 of one client
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
	orElse(&o.MaxStrangers, 32)
	orElse(&o.MaxPacket, topics.MaxPayload+64<<10)
	orElse(&o.MaxLevels, 32)
	orElse(&o.MaxPending, 4<<20)
	orElse(&o.MaxBacklog, 32<<20)
	orElse(&o.MaxSessions, 256)
	orElse(&o.MaxRetained, 2000)
	orElse(&o.MaxRetainedBytes, 16<<20)
	orElse(&o.MaxRetainedInAll, 50_000)
	orElse(&o.MaxRetainedBytesInAll, 256<<20)
	orElse(&o.MaxSubscriptions, 1000)
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
	Opening     Deed = "open" // a WebSocket, by a web page; there is no client yet
)

// Refusal is one thing that a client wanted and was not let do.
type Refusal struct {
	What    Deed
	Client  string            // client id
	Account string            // as "node attic"; of a client whose login was refused the name it gave, for which nobody vouches; empty: none
	Remote  string            // its address
	Who     []topics.Identity // what it may be; empty: it was not let in
	Topic   string            // topic, or filter of a subscription; empty for Connecting
	Why     string            // a few words, for people
}
