package demo

import (
	"fmt"
	"strings"

	"dominion/topics"
)

// header says what this is, and in what it differs from a house to live in.
func header(version string, id topics.HouseID, port, wished int) []text {
	first := fmt.Sprintf("Dominion %s  demo house %.4s  broker %s", version, id, loopback(port))
	if port != wished {
		first += fmt.Sprintf(" (%d is in use)", wished)
	}
	return plainly(first,
		" only for a look: anybody on this machine is its operator, nobody else hears",
		" of it (no mDNS), and what is lost moves after 5 s instead of 60 s",
	)
}

// hints say what can be pressed and typed.
func hints(port int, keys bool) []text {
	all := plainly("")
	if keys {
		all = append(all, plainly(" k  pull attic's plug    s  stop/start npBar    w  why    q  end")...)
	}
	flag := ""
	if port != usualPort {
		flag = fmt.Sprintf(" -p %d", port)
	}
	return append(all, plainly(
		fmt.Sprintf(" watch     mosquitto_sub%s -v -t 'dominion/#'", flag),
		fmt.Sprintf(" HA        MQTT integration, broker 127.0.0.1, port %d", port),
	)...)
}

// painted are lines that bring their colours with them.
func painted(all string) []text {
	var texts []text
	for l := range strings.Lines(all) {
		texts = append(texts, text{string: strings.TrimRight(l, "\n"), painted: true})
	}
	return texts
}

// clean takes out what could steer a terminal: what comes from the bus was
// written by others.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
}
