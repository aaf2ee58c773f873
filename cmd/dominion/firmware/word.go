package firmware

import (
	"encoding/json"
	"strings"

	"dominion/topics"
)

// word is what a presence topic says: the payload itself or, of a JSON object,
// its state.
func word(payload []byte) string {
	var object struct {
		State string `json:"state"`
	}
	if json.Unmarshal(payload, &object) == nil && object.State != "" {
		return object.State
	}
	return strings.TrimSpace(string(payload))
}

// present reads a presence; known is false for a word that says neither.
func (e Entry) present(payload []byte) (online, known bool) {
	said := word(payload)
	for _, w := range e.Online {
		if strings.EqualFold(w, said) {
			return true, true
		}
	}
	for _, w := range e.Offline {
		if strings.EqualFold(w, said) {
			return false, true
		}
	}
	return false, false
}

// node is whom a topic speaks of: the level in place of +, made a name, or the
// entry's own name; "" when the topic is none of this entry's.
func (e Entry) node(name, topic string) topics.Node {
	want, have := strings.Split(e.Presence, "/"), strings.Split(topic, "/")
	if len(want) != len(have) {
		return ""
	}
	node := name
	for i, level := range want {
		switch {
		case level == "+":
			node = legible(have[i])
		case level != have[i]:
			return ""
		}
	}
	if topics.Node(node).Check() != nil {
		return ""
	}
	return topics.Node(node)
}

// legible makes a name of a level: what no name may have becomes -.
func legible(level string) string {
	level = strings.TrimLeft(topics.Spell(level, '-'), "-_")
	return level[:min(len(level), topics.MaxName)]
}
