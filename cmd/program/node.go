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
	name := strings.Trim(topics.Spell(host, '-'), "-_")
	if n := topics.Node(name[:min(len(name), topics.MaxName)]); n.Check() == nil {
		return n
	}
	return ""
}
