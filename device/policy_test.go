package device_test

import (
	"testing"

	"dominion/device"
	"dominion/topics"
)

func TestWhatBecomesOfAServiceThatEnded(t *testing.T) {
	policy := func(p string) *topics.Restart { return &topics.Restart{Policy: p} }
	for _, c := range []struct {
		story string
		want  topics.Wanted
		clean device.Outcome
		fails device.Outcome
	}{
		{"one that runs for ever", topics.Wanted{}, device.Retried, device.Retried},
		{"on-failure", topics.Wanted{Restart: policy("on-failure")}, device.Ended, device.Retried},
		{"never", topics.Wanted{Restart: policy("never")}, device.Ended, device.Failed},
		{"a oneshot", topics.Wanted{Type: "oneshot"}, device.Complete, device.Retried},
		{"a oneshot, never", topics.Wanted{Type: "oneshot", Restart: policy("never")}, device.Complete, device.Failed},
		{"a scheduled one", topics.Wanted{Schedule: "@daily"}, device.Complete, device.Retried},
	} {
		if got := device.AfterEnd(c.want, true); got != c.clean {
			t.Errorf("%s that exited with 0 is %s, want %s", c.story, got, c.clean)
		}
		if got := device.AfterEnd(c.want, false); got != c.fails {
			t.Errorf("%s that failed is %s, want %s", c.story, got, c.fails)
		}
	}
}
