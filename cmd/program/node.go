package program

import (
	"os"
	"strings"

	"dominion/topics"
)

// HostName is NameOf this machine's host name.
func HostName() topics.Node {
	host, err := os.Hostname()
	if err != nil {
		return ""
	}
	return NameOf(host)
}

// NameOf makes a domain's name of a host name: up to the first dot, what no
// name may have replaced by -. It is "" when nothing of it is left.
func NameOf(host string) topics.Node {
	host, _, _ = strings.Cut(host, ".")
	name := strings.Trim(strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r < 0x80 && topics.CheckName(string(r)) == nil {
			return r
		}
		return '-'
	}, host), "-_")
	const longest = 63
	if n := topics.Node(name[:min(len(name), longest)]); n.Check() == nil {
		return n
	}
	return ""
}
