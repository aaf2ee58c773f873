package topics_test

import (
	"os"
	"strings"
	"testing"

	"dominion/topics"

	"github.com/google/go-cmp/cmp"
)

// example is one checked block of docs/protocol.md: a topic and its payload.
type example struct{ topic, payload string }

func examples(t *testing.T) (all []example) {
	t.Helper()
	text, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	for i, block := range strings.Split(string(text), "```") {
		lines := strings.Split(strings.TrimSpace(block), "\n")
		if i%2 == 1 && len(lines) == 2 && strings.HasPrefix(lines[1], "{") {
			all = append(all, example{lines[0], lines[1]})
		}
	}
	if len(all) < 20 {
		t.Fatalf("docs/protocol.md has %d examples; the test no longer finds them", len(all))
	}
	return all
}

// again decodes a payload as what its topic says and encodes it anew.
func again(space topics.Space, e example) (string, error) {
	a, err := space.Parse(e.topic)
	if err != nil {
		return "", err
	}
	payload := []byte(e.payload)
	switch a.Class {
	case topics.State:
		return againState(a, payload)
	case topics.Desired:
		switch {
		case a.Kind == "services":
			doc, bad, err := topics.DecodeDocument(payload)
			for _, err := range bad {
				return "", err
			}
			return string(topics.Encode(doc)), err
		case a.Kind == "service":
			return trip[topics.ServiceWord](payload)
		default:
			return trip[topics.DomainWord](payload)
		}
	case topics.Command:
		_, err := space.DecodeRequest(topics.Message{Topic: e.topic, Payload: payload})
		return e.payload, err
	}
	switch a.Kind {
	case "heartbeat":
		return trip[topics.Heartbeat](payload)
	case "reply":
		return trip[topics.Reply](payload)
	case "error":
		return trip[topics.Fault](payload)
	}
	if a.Kind == "log" {
		return trip[topics.LogLines](payload)
	}
	return trip[topics.Happening](payload)
}

func againState(a topics.Address, payload []byte) (string, error) {
	switch a.Kind {
	case "presence":
		return trip[topics.Presence](payload)
	case "info":
		return trip[topics.Info](payload)
	case "host":
		return trip[topics.Host](payload)
	case "service":
		return trip[topics.ServiceState](payload)
	case "domain":
		return trip[topics.Judgement](payload)
	case "summary":
		return trip[topics.Summary](payload)
	case "alerts":
		return trip[topics.Alerts](payload)
	case "lookup":
		return trip[topics.Lookup](payload)
	}
	return trip[topics.Alert](payload)
}

func trip[T any](payload []byte) (string, error) {
	v, err := topics.Decode[T](payload)
	return string(topics.Encode(v)), err
}

func TestEveryExampleOfTheProtocolIsWhatTheCodeWrites(t *testing.T) {
	for _, e := range examples(t) {
		got, err := again(topics.Space{}, e)
		if err != nil {
			t.Errorf("%s: %v", e.topic, err)
			continue
		}
		if diff := cmp.Diff(e.payload, got); diff != "" {
			t.Errorf("%s (-documented +written):\n%s", e.topic, diff)
		}
	}
}

// A reader needs only what the documentation says is needed, and a field from
// the future changes nothing.
func TestUnknownFieldsAreIgnored(t *testing.T) {
	for _, e := range examples(t) {
		future := example{e.topic, strings.Replace(e.payload, "{", `{"future":{"a":[1]},`, 1)}
		got, err := again(topics.Space{}, future)
		if err != nil {
			t.Errorf("%s: %v", e.topic, err)
			continue
		}
		if !strings.Contains(e.topic, "/command/") && got != e.payload {
			t.Errorf("%s: a field from the future changed the payload:\n%s", e.topic, cmp.Diff(e.payload, got))
		}
	}
}
