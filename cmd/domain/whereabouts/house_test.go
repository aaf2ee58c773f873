package whereabouts_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dominion/cmd/domain/whereabouts"
	"dominion/discovery"
	"dominion/identity"
	"dominion/topics"
)

// leader is what a leader announces.
func leader(house, name, broker string, addresses ...string) discovery.Entry {
	e := discovery.Entry{
		Service: discovery.DominionService, Instance: "dominion-" + house, Port: 8443,
		Text: map[string]string{"v": "1", "house": house, "name": name, "base": "dominion", "url": broker, "join": "8443"},
	}
	for _, a := range addresses {
		e.Addresses = append(e.Addresses, netip.MustParseAddr(a))
	}
	return e
}

// with is an entry with another text.
func with(e discovery.Entry, key, value string) discovery.Entry {
	e.Text[key] = value
	return e
}

func TestHouses(t *testing.T) {
	got := whereabouts.Houses([]discovery.Entry{
		leader("7f3a9c", "Home", "mqtts://:8883", "10.0.0.1", "fd00::1"),
		leader("7f3a9c", "Home", "mqtts://:8883", "10.0.0.1", "10.1.0.1"),
		leader("aaaaaa", "Home", "mqtts://:8883", "10.0.0.9"),
		with(leader("bbbbbb", "Lets nobody in", "mqtts://:8883", "10.0.0.8"), "join", ""),
		with(leader("cccccc", "Of the future", "mqtts://:8883", "10.0.0.7"), "v", "2"),
		leader("not an id", "Odd", "mqtts://:8883", "10.0.0.6"),
		with(leader("dddddd", "Odd", "mqtts://:8883", "10.0.0.6"), "join", "99999"),
	})
	want := []whereabouts.House{
		{ID: "7f3a9c", Name: "Home", Doors: []string{"10.0.0.1:8443", "[fd00::1]:8443", "10.1.0.1:8443"}},
		{ID: "aaaaaa", Name: "Home", Doors: []string{"10.0.0.9:8443"}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestPick(t *testing.T) {
	home, hut := whereabouts.House{ID: "h1", Name: "Home"}, whereabouts.House{ID: "h2", Name: "Hut"}
	twin, thief := whereabouts.House{ID: "h3", Name: "home"}, whereabouts.House{ID: "h4", Name: "h1"}
	type houses = []whereabouts.House
	tests := []struct {
		name    string
		heard   houses
		meant   string
		want    topics.HouseID
		several int
	}{
		{name: "takes the only one", heard: houses{home}, want: "h1"},
		{name: "finds none in silence"},
		{name: "does not choose between two", heard: houses{home, hut}, several: 2},
		{name: "knows a name", heard: houses{home, hut}, meant: "hut", want: "h2"},
		{name: "knows an id", heard: houses{home, hut}, meant: "h1", want: "h1"},
		{name: "does not choose between two of one name", heard: houses{home, hut, twin}, meant: "Home", several: 2},
		{name: "tells them by their ids", heard: houses{home, hut, twin}, meant: "h3", want: "h3"},
		{name: "holds an id above a name", heard: houses{home, thief}, meant: "h1", want: "h1"},
		{name: "takes no other instead", heard: houses{home}, meant: "Hut"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := whereabouts.Pick(tt.heard, tt.meant)
			var several *whereabouts.Several
			switch {
			case tt.want != "":
				if err != nil || got.ID != tt.want {
					t.Errorf("got %v, %v", got, err)
				}
			case tt.several != 0:
				if !errors.As(err, &several) || len(several.Houses) != tt.several {
					t.Errorf("got %v, %v", got, err)
				}
			case !errors.Is(err, whereabouts.ErrNone):
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
}

func TestPlaces(t *testing.T) {
	ours := identity.Membership{House: "7f3a9c", Broker: "mqtts://10.0.0.1:8883", Door: "10.0.0.1:8443"}
	external := identity.Membership{House: "7f3a9c", Broker: "mqtt://10.0.0.5", Door: "10.0.0.1:8443", Username: "node", Logins: identity.LoginsShared}
	plain := identity.Membership{House: "7f3a9c", Broker: "mqtt://10.0.0.1", Door: "10.0.0.1:8443", Logins: identity.LoginsOwn}
	last := whereabouts.Place{Broker: "10.0.0.1:8883", Door: "10.0.0.1:8443"}
	type (
		entries = []discovery.Entry
		places  = []whereabouts.Place
	)
	tests := []struct {
		name  string
		of    identity.Membership
		heard entries
		want  places
	}{
		{name: "goes where it was", of: ours, want: places{last}},
		{name: "goes where it is heard first", of: ours, heard: entries{leader("7f3a9c", "Home", "mqtts://:8884", "10.0.0.2")},
			want: places{{"10.0.0.2:8884", "10.0.0.2:8443"}, last}},
		{name: "tries each address", of: ours, heard: entries{leader("7f3a9c", "Home", "mqtts://:8883", "10.0.0.2", "10.1.0.2")},
			want: places{{"10.0.0.2:8883", "10.0.0.2:8443"}, {"10.1.0.2:8883", "10.1.0.2:8443"}, last}},
		{name: "believes no host that is named", of: ours, heard: entries{leader("7f3a9c", "Home", "mqtts://10.0.0.3", "10.0.0.2")}, want: places{last}},
		{name: "needs no open door", of: ours, heard: entries{with(leader("7f3a9c", "Home", "mqtts://:8883", "10.0.0.2"), "join", "")},
			want: places{{Broker: "10.0.0.2:8883"}, last}},
		{name: "tries no place twice", of: ours, heard: entries{leader("7f3a9c", "Home", "mqtts://:8883", "10.0.0.1")}, want: places{last}},
		{name: "never goes to another house", of: ours, heard: entries{leader("aaaaaa", "Home", "mqtts://:8883", "10.0.0.9")}, want: places{last}},
		{name: "never leaves TLS", of: ours, heard: entries{leader("7f3a9c", "Home", "mqtt://:1883", "10.0.0.2")}, want: places{last}},
		{name: "takes a lie for what it is", of: ours, heard: entries{leader("7f3a9c", "Home", "http://%zz", "10.0.0.2")}, want: places{last}},
		{name: "carries a password nowhere else", of: external, heard: entries{leader("7f3a9c", "Home", "mqtts://:8883", "10.0.0.2")},
			want: places{{Broker: "10.0.0.5:1883", Door: "10.0.0.1:8443"}}},
		{name: "carries a password nowhere else in the clear", of: plain, heard: entries{leader("7f3a9c", "Home", "mqtt://:1883", "10.0.0.2")},
			want: places{{Broker: "10.0.0.1:1883", Door: "10.0.0.1:8443"}}},
		{name: "is not drowned", of: ours, heard: entries{leader("7f3a9c", "Home", "mqtts://:8883",
			"10.0.1.1", "10.0.1.2", "10.0.1.3", "10.0.1.4", "10.0.1.5", "10.0.1.6", "10.0.1.7")},
			want: places{{"10.0.1.1:8883", "10.0.1.1:8443"}, {"10.0.1.2:8883", "10.0.1.2:8443"}, {"10.0.1.3:8883", "10.0.1.3:8443"},
				{"10.0.1.4:8883", "10.0.1.4:8443"}, {"10.0.1.5:8883", "10.0.1.5:8443"}, last}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, whereabouts.Places(&tt.of, tt.heard)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBeside(t *testing.T) {
	tests := []struct {
		name string
		of   identity.Membership
		door string
		want string
	}{
		{"is at the door's host", identity.Membership{Broker: "mqtts://:8884"}, "[fd00::7]:8443", "mqtts://[fd00::7]:8884"},
		{"may have a name", identity.Membership{Broker: "mqtts://:8883"}, "pi1.lan:8443", "mqtts://pi1.lan:8883"},
		{"is another's", identity.Membership{Broker: "mqtt://192.168.1.5:1883", Username: "node"}, "10.0.0.7:8443", "mqtt://192.168.1.5:1883"},
		{"is another's on the leader's machine", identity.Membership{Broker: "mqtt://127.0.0.1", Username: "node"}, "10.0.0.7:8443", "mqtt://10.0.0.7:1883"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := tt.of
			got := whereabouts.Beside(&tt.of, tt.door)
			if got.Broker != tt.want || got.Door != tt.door {
				t.Errorf("broker %s, door %s", got.Broker, got.Door)
			}
			if diff := cmp.Diff(before, tt.of); diff != "" {
				t.Errorf("the argument was changed: %s", diff)
			}
		})
	}
}

func TestAccess(t *testing.T) {
	const secret = "S3CRET"
	user, password := identity.ServiceLogin("pi2", secret, "lamp")
	tests := []struct {
		name        string
		of          identity.Membership
		address     string
		url, ca     string
		login, word string // the node's own
	}{
		{name: "is the service's own at our broker", of: identity.Membership{Node: "pi2", Secret: secret, Broker: "mqtts://10.0.0.1:8883", Door: "10.0.0.1:8443", Logins: identity.LoginsOwn},
			address: "10.0.0.2:8883", url: "mqtts://" + user + ":" + password + "@10.0.0.2:8883", ca: "/data/house.crt"},
		{name: "is the service's own at a broker with our list", of: identity.Membership{Node: "pi2", Secret: secret, Broker: "mqtt://10.0.0.5:1883", Logins: identity.LoginsOwn},
			address: "10.0.0.5:1883", url: "mqtt://" + user + ":" + password + "@10.0.0.5:1883", login: "pi2", word: "own"},
		{name: "is none where nodes share one", of: identity.Membership{Node: "pi2", Secret: secret, Broker: "mqtt://10.0.0.5:1883", Logins: identity.LoginsShared, Username: "nodes", Password: "geheim"},
			url: "mqtt://10.0.0.5:1883", login: "nodes", word: "geheim"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := whereabouts.Access(&tt.of, tt.address, "/data/house.crt", "lamp")
			if got.URL != tt.url || got.CA != tt.ca {
				t.Errorf("got %+v, want %s and %q", got, tt.url, tt.ca)
			}
			if tt.word == "own" {
				_, tt.word = identity.NodeLogin("pi2", secret)
			}
			word, _ := whereabouts.Login(&tt.of).Password()
			if login := whereabouts.Login(&tt.of).Username(); login != tt.login || word != tt.word {
				t.Errorf("the node logs in as %q with %q, want %q with %q", login, word, tt.login, tt.word)
			}
		})
	}
}
