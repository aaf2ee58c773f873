package discovery

import (
	"cmp"
	"fmt"
	"net"
	"strings"
)

// Announcement is a service that this machine offers. The addresses are those
// of the interface over which somebody asks.
type Announcement struct {
	Service  string // "_dominion._tcp"
	Instance string // one word of a-z, 0-9 and "-", at most 63; put an id in: no two in a network may be the same
	Port     int
	Text     map[string]string // each key with its value 254 bytes at most, all of them 1,000
}

// A text's string has a byte for its length, and an answer fits in one packet.
const (
	maxPair = 254
	maxText = 1000
)

// check says what of an announcement cannot be announced.
func (a Announcement) check() error {
	var size int
	for key, value := range a.Text {
		pair := len(key) + len("=") + len(value)
		switch {
		case !isKey(key):
			return fmt.Errorf("announce %s: the key %q is not of small letters", a.Service, key)
		case !showable(value):
			return fmt.Errorf("announce %s: the value of %s cannot be shown: %q", a.Service, key, value)
		case pair > maxPair:
			return fmt.Errorf("announce %s: %s with its value is %d bytes, %d is the most", a.Service, key, pair, maxPair)
		}
		size += 1 + pair
	}
	switch {
	case !isService(a.Service):
		return fmt.Errorf("announce %q: not a service as in _dominion._tcp", a.Service)
	case !isWord(a.Instance, 63):
		return fmt.Errorf("announce %s: the instance %q is not one word of a-z, 0-9 and -", a.Service, a.Instance)
	case a.Port < 1 || a.Port > 65535:
		return fmt.Errorf("announce %s: no port %d", a.Service, a.Port)
	case size > maxText:
		return fmt.Errorf("announce %s: the text is %d bytes, %d is the most", a.Service, size, maxText)
	case len(a.Text) > maxPairs:
		return fmt.Errorf("announce %s: the text has %d keys, %d is the most", a.Service, len(a.Text), maxPairs)
	}
	return nil
}

func isService(s string) bool {
	name, proto, _ := strings.Cut(s, ".")
	word, marked := strings.CutPrefix(name, "_")
	return marked && isWord(word, 15) && (proto == "_tcp" || proto == "_udp")
}

// isWord says whether a text is a DNS label as we write them.
func isWord(s string, longest int) bool {
	strange := func(r rune) bool { return r != '-' && !isLower(r) }
	return s != "" && len(s) <= longest && !strings.ContainsFunc(s, strange) && s[0] != '-' && s[len(s)-1] != '-'
}

func isKey(s string) bool {
	strange := func(r rune) bool { return r != '-' && r != '_' && !isLower(r) }
	return s != "" && len(s) <= 32 && !strings.ContainsFunc(s, strange)
}

func isLower(r rune) bool { return 'a' <= r && r <= 'z' || '0' <= r && r <= '9' }

// hostLabel names this machine in answers. It is not the machine's own name:
// that is avahi's to answer for, and in many a house there are three called
// "raspberrypi". The hardware address of the first interface tells them apart.
func hostLabel(hostname string, links []link) string {
	label, _, _ := strings.Cut(strings.ToLower(hostname), ".")
	label = strings.Map(func(r rune) rune {
		if isLower(r) {
			return r
		}
		return '-'
	}, label)
	label = strings.Trim(label[:min(len(label), 40)], "-")
	for _, l := range links {
		if mac := l.HardwareAddr; len(mac) == 6 && l.Flags&net.FlagLoopback == 0 {
			return fmt.Sprintf("%s-%x", cmp.Or(label, "dominion"), []byte(mac[3:]))
		}
	}
	return cmp.Or(label, "dominion")
}
