package broker

import "strings"

// mochi walks topics by counting slashes from the start for each level, under
// the lock of all subscriptions: a topic of 32,000 levels costs seconds, and
// everybody waits. So the depth is bounded before mochi sees it, and with it
// the wrong filters that mochi accepts.

func levels(topic string) int { return strings.Count(topic, "/") + 1 }

// validTopic holds a topic to MQTT 3.1.1, 4.7.1 and 4.7.3.
func validTopic(topic string) bool {
	return topic != "" && len(topic) <= 65535 && !strings.ContainsAny(topic, "+#\x00")
}

// validFilter holds a filter to MQTT 3.1.1, 4.7.1: + is a whole level, # a
// whole level and the last.
func validFilter(filter string) bool {
	if filter == "" || strings.ContainsRune(filter, 0) {
		return false
	}
	for more := true; more; {
		var level string
		level, filter, more = strings.Cut(filter, "/")
		switch {
		case level == "+":
		case level == "#":
			return !more
		case strings.ContainsAny(level, "+#"):
			return false
		}
	}
	return true
}

// matches tells whether a topic is one that a filter covers (4.7.1 and 4.7.2):
// x/# covers x too, and a wildcard at the front covers no topic that begins
// with $.
func matches(filter, topic string) bool {
	if strings.HasPrefix(topic, "$") && (strings.HasPrefix(filter, "+") || strings.HasPrefix(filter, "#")) {
		return false
	}
	for {
		want, deeper, wantMore := strings.Cut(filter, "/")
		if want == "#" {
			return true
		}
		have, below, haveMore := strings.Cut(topic, "/")
		if want != "+" && want != have {
			return false
		}
		switch {
		case wantMore && haveMore:
			filter, topic = deeper, below
		case wantMore:
			return deeper == "#"
		default:
			return !haveMore
		}
	}
}

// unshared is the filter inside a shared subscription, $share/<group>/<filter>.
func unshared(filter string) string {
	const share = "$share/"
	if len(filter) < len(share) || !strings.EqualFold(filter[:len(share)], share) {
		return filter
	}
	_, inner, _ := strings.Cut(filter[len(share):], "/")
	return inner
}

// validShare holds a filter that begins with $share to MQTT 5, 4.8.2: a name
// without wildcards and a filter follow. (mochi takes $SHARE for the same.)
func validShare(filter string) bool {
	const share = "$share"
	if len(filter) < len(share) || !strings.EqualFold(filter[:len(share)], share) {
		return true
	}
	name, bare, whole := strings.Cut(strings.TrimPrefix(filter, share+"/"), "/")
	return strings.HasPrefix(filter, share+"/") && whole && name != "" && bare != "" && !strings.ContainsAny(name, "+#")
}

// shorten makes a foreign string fit a log line.
func shorten(s string) string {
	const most = 120
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}
