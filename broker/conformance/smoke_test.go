package conformance_test

import "testing"

// The client of these tests speaks both levels at every QoS.
func TestTheClientSpeaks(t *testing.T) {
	t.Parallel()
	s := start(t, nil)
	for _, level := range []byte{4, 5} {
		c := join(t, s, connect{id: "speaker", level: level})
		c.subscribe(filter{"words", 2})
		for qos := range byte(3) {
			c.exchange(publish{topic: "words", payload: "hello", qos: qos})
			if m := c.message(); m.payload != "hello" || m.qos != qos {
				t.Errorf("level %d, QoS %d: got %v", level, qos, m)
			}
		}
		c.unsubscribe("words")
		c.publish(publish{topic: "words"})
		if got := c.mine("fence"); len(got) > 0 {
			t.Errorf("level %d: got %v after UNSUBSCRIBE", level, got)
		}
		c.alive()
		c.leave()
	}
}
