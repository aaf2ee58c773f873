// Package whereabouts finds a house in the local network: its broker, for a
// machine that belongs to it and lost sight of it, and its door, for one that
// wants to join.
package whereabouts

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"dominion/discovery"
	"dominion/topics"
)

// House is one that announces itself by mDNS. Nothing of it is proven.
type House struct {
	ID    topics.HouseID
	Name  string
	Doors []string // host:port where machines join, those heard last first
}

// String is the house for people: "Home (7f3a9c)".
func (h House) String() string {
	return fmt.Sprintf("%s (%s)", cmp.Or(h.Name, "a house without a name"), h.ID)
}

// Houses are those that were heard and can be joined, ordered by name and id.
func Houses(heard []discovery.Entry) []House {
	var all []House
	for _, e := range heard {
		doors := doorsOf(e)
		if houseOf(e) == "" || len(doors) == 0 {
			continue
		}
		i := slices.IndexFunc(all, func(h House) bool { return h.ID == houseOf(e) })
		if i < 0 {
			i = len(all)
			all = append(all, House{ID: houseOf(e), Name: e.Text["name"]})
		}
		for _, door := range doors {
			if !slices.Contains(all[i].Doors, door) {
				all[i].Doors = append(all[i].Doors, door)
			}
		}
	}
	slices.SortFunc(all, func(a, b House) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return all
}

// ErrNone is what Pick says when no house, or not the one that is meant, was heard.
var ErrNone = errors.New("no such house was heard")

// Several is what Pick says when it cannot tell which house is meant.
type Several struct{ Houses []House }

func (s *Several) Error() string {
	names := make([]string, 0, len(s.Houses))
	for _, h := range s.Houses {
		names = append(names, h.String())
	}
	return fmt.Sprintf("there are %d houses here: %s", len(names), strings.Join(names, ", "))
}

// Pick is the house of that name or id; of no name, the only one there is.
func Pick(houses []House, meant string) (House, error) {
	fits := slices.DeleteFunc(slices.Clone(houses), func(h House) bool {
		return meant != "" && meant != string(h.ID) && !strings.EqualFold(meant, h.Name)
	})
	if i := slices.IndexFunc(fits, func(h House) bool { return meant == string(h.ID) }); i >= 0 {
		return fits[i], nil // another house may have chosen this id for its name
	}
	switch len(fits) {
	case 0:
		return House{}, ErrNone
	case 1:
		return fits[0], nil
	}
	return House{}, &Several{fits}
}

// version is the announcement's that this program understands.
const version = "1"

// houseOf is the house of an announcement, "" when it is none that we know.
func houseOf(e discovery.Entry) topics.HouseID {
	id := e.Text["house"]
	if e.Text["v"] != version || topics.CheckName(id) != nil {
		return ""
	}
	return topics.HouseID(id)
}

// doorsOf is where machines join an announced house, one for each address; none
// if it lets nobody in.
func doorsOf(e discovery.Entry) []string {
	port, err := strconv.ParseUint(e.Text["join"], 10, 16)
	if err != nil || port == 0 {
		return nil
	}
	return at(e.Addresses, e.Text["join"])
}

func at(addresses []netip.Addr, port string) []string {
	var all []string
	for _, a := range addresses {
		all = append(all, net.JoinHostPort(a.String(), port))
	}
	return all
}

// secure is the scheme of a broker that speaks TLS.
const secure = "mqtts"
