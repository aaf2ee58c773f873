package client

import (
	"errors"
	"fmt"
	"strings"
)

// checkFilter tells why f cannot be subscribed to, or nil (MQTT 3.1.1, 4.7.1).
func checkFilter(f string) error {
	if f == "" {
		return errors.New("a filter is empty")
	}
	levels := strings.Split(f, "/")
	for i, level := range levels {
		switch {
		case level == "#" && i != len(levels)-1:
			return fmt.Errorf("filter %q: # must be the last level", f)
		case len(level) > 1 && strings.ContainsAny(level, "+#"):
			return fmt.Errorf("filter %q: + and # must be whole levels", f)
		}
	}
	return nil
}

// matches tells whether a topic matches a filter (MQTT 3.1.1, 4.7). It takes
// no copies: it is asked for every message.
func matches(filter, topic string) bool {
	for {
		f, filterRest, moreFilter := strings.Cut(filter, "/")
		if f == "#" {
			return true
		}
		t, topicRest, moreTopic := strings.Cut(topic, "/")
		if f != "+" && f != t {
			return false
		}
		switch {
		case !moreFilter && !moreTopic:
			return true
		case !moreTopic:
			return filterRest == "#" // a/# matches a
		case !moreFilter:
			return false
		}
		filter, topic = filterRest, topicRest
	}
}

// overlap tells whether some topic matches both filters.
func overlap(a, b string) bool {
	x, y := strings.Split(a, "/"), strings.Split(b, "/")
	for i := 0; ; i++ {
		switch {
		case i < len(x) && x[i] == "#" || i < len(y) && y[i] == "#":
			return true
		case i >= len(x) || i >= len(y):
			return len(x) == len(y)
		case x[i] != "+" && y[i] != "+" && x[i] != y[i]:
			return false
		}
	}
}
