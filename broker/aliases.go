package broker

import (
	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// aliases are the numbers that stand for topics in what a client of MQTT 5 is
// sent. mochi's stand for a topic too when the message that said so was too
// large for the client, and not sent. They are guarded by news.mu.
type aliases struct {
	most uint16 // the client's Topic Alias Maximum
	of   map[string]uint16
}

// takeOver takes the numbers away from mochi. It is called at CONNECT.
func (a *aliases) takeOver(cl *mqtt.Client) {
	a.most = min(cl.Properties.Props.TopicAliasMaximum, topicAliasMaximum) // each keeps a topic here too
	cl.Properties.Props.TopicAliasMaximum = 0
}

// shorten puts an alias in the place of a message's topic or, the first time, beside it.
func (a *aliases) shorten(pk *packets.Packet) {
	alias, known := a.of[pk.TopicName]
	switch {
	case known:
		pk.TopicName = ""
	case len(a.of) < int(a.most):
		alias = uint16(len(a.of)) + 1
	}
	pk.Properties.TopicAlias, pk.Properties.TopicAliasFlag = alias, alias > 0
}

// learn follows when the message was written.
func (a *aliases) learn(topic string, alias uint16) {
	if alias == 0 {
		return
	}
	if a.of == nil {
		a.of = map[string]uint16{}
	}
	a.of[topic] = alias
}
