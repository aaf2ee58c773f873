package discovery_test

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"dominion/discovery"
)

func onEth0(networks ...string) []discovery.Link {
	return []discovery.Link{{Name: "eth0", Index: 2, Flags: ethernet, Networks: networks}}
}

func leader() discovery.Announcement {
	return discovery.Announcement{Service: discovery.DominionService, Instance: "home-7f3a9c", Port: 8443, Text: map[string]string{"v": "1", "name": "Home"}}
}

func TestAnnouncementsThatCannotBeMadeAreNamed(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*discovery.Announcement)
		names  string
	}{
		"whole":             {func(*discovery.Announcement) {}, ""},
		"no service":        {func(a *discovery.Announcement) { a.Service = "" }, `""`},
		"another service":   {func(a *discovery.Announcement) { a.Service = "_dominion._sctp" }, "_dominion._sctp"},
		"two services":      {func(a *discovery.Announcement) { a.Service = "_a._tcp,_b" }, "_a._tcp,_b"},
		"no instance":       {func(a *discovery.Announcement) { a.Instance = "" }, "instance"},
		"a dotted instance": {func(a *discovery.Announcement) { a.Instance = "my.home" }, "my.home"},
		"a long instance":   {func(a *discovery.Announcement) { a.Instance = strings.Repeat("a", 64) }, "instance"},
		"no port":           {func(a *discovery.Announcement) { a.Port = 0 }, "port 0"},
		"a strange port":    {func(a *discovery.Announcement) { a.Port = 65536 }, "port 65536"},
		"a key with =":      {func(a *discovery.Announcement) { a.Text["a=b"] = "" }, `"a=b"`},
		"a line break":      {func(a *discovery.Announcement) { a.Text["name"] = "a\nb" }, "name"},
		"a long value":      {func(a *discovery.Announcement) { a.Text["name"] = strings.Repeat("x", 250) }, "255 bytes, 254"},
		"a long text": {func(a *discovery.Announcement) {
			for i := range 5 {
				a.Text[fmt.Sprint(i)] = strings.Repeat("x", 200)
			}
		}, "1029 bytes, 1000"},
		"many keys": {func(a *discovery.Announcement) {
			for i := range 50 {
				a.Text[fmt.Sprint(i)] = ""
			}
		}, "52 keys"},
	} {
		t.Run(name, func(t *testing.T) {
			a := leader()
			c.change(&a)
			keys, wrong := discovery.Registrations(onEth0("10.0.0.5/24"), []discovery.Announcement{a})
			if c.names == "" {
				if len(keys) != 1 || len(wrong) != 0 {
					t.Errorf("%d announced, wrong: %v", len(keys), wrong)
				}
				return
			}
			if len(keys) != 0 || len(wrong) != 1 || !strings.Contains(wrong[0].Error(), c.names) {
				t.Errorf("%d announced, wrong: %v, want one that has %q", len(keys), wrong, c.names)
			}
		})
	}
}

func TestAnnouncedAnewWhenSomethingChanged(t *testing.T) {
	key := func(links []discovery.Link, a discovery.Announcement) string {
		keys, wrong := discovery.Registrations(links, []discovery.Announcement{a})
		if len(keys) != 1 || len(wrong) != 0 {
			t.Fatalf("%v, wrong: %v", keys, wrong)
		}
		return keys[0]
	}
	before := key(onEth0("10.0.0.5/24"), leader())
	another := func(change func(*discovery.Announcement)) string {
		a := leader()
		change(&a)
		return key(onEth0("10.0.0.5/24"), a)
	}
	for name, c := range map[string]struct {
		key   string
		again bool
	}{
		"nothing":       {another(func(*discovery.Announcement) {}), false},
		"the port":      {another(func(a *discovery.Announcement) { a.Port++ }), true},
		"the text":      {another(func(a *discovery.Announcement) { a.Text["name"] = "Garden" }), true},
		"the instance":  {another(func(a *discovery.Announcement) { a.Instance = "other" }), true},
		"the address":   {key(onEth0("10.0.0.6/24"), leader()), true},
		"the network":   {key(onEth0("10.0.0.5/16"), leader()), true},
		"one interface": {key(append(onEth0("10.0.0.5/24"), discovery.Link{Name: "wlan0", Index: 3, Flags: ethernet, Networks: []string{"10.0.0.7/24"}}), leader()), true},
		"an unused interface": {key(append(onEth0("10.0.0.5/24"),
			discovery.Link{Name: "docker0", Index: 4, Flags: ethernet, Networks: []string{"172.17.0.1/16"}, Inside: true}), leader()), false},
	} {
		if got := c.key != before; got != c.again {
			t.Errorf("%s changed: announced anew %v, want %v", name, got, c.again)
		}
	}
}

func TestAnnouncementsAreBoundedAndNamedOnce(t *testing.T) {
	var many []discovery.Announcement
	for i := range 20 {
		a := leader()
		a.Instance = fmt.Sprintf("home-%02d", i)
		many = append(many, a)
	}
	if keys, wrong := discovery.Registrations(onEth0("10.0.0.5/24"), many); len(keys) != 16 || len(wrong) != 1 {
		t.Errorf("of many %d are announced, wrong: %v", len(keys), wrong)
	}
	if keys, wrong := discovery.Registrations(onEth0("10.0.0.5/24"), []discovery.Announcement{leader(), leader()}); len(keys) != 1 || len(wrong) != 1 {
		t.Errorf("of two that are the same %d are announced, wrong: %v", len(keys), errors.Join(wrong...))
	}
	if keys, wrong := discovery.Registrations(nil, []discovery.Announcement{leader()}); len(keys) != 0 || len(wrong) != 0 {
		t.Errorf("without a network %v is announced, wrong: %v", keys, wrong)
	}
}

func TestTheMachinesNameInAnswers(t *testing.T) {
	mac := func(last byte) []discovery.Link {
		return []discovery.Link{
			{Name: "lo", Flags: net.FlagLoopback, MAC: make(net.HardwareAddr, 6)},
			{Name: "eth0", MAC: net.HardwareAddr{0xdc, 0xa6, 0x32, 0x01, 0x02, last}},
			{Name: "wlan0", MAC: net.HardwareAddr{0xdc, 0xa6, 0x32, 0x0a, 0x0b, 0x0c}},
		}
	}
	for _, c := range []struct {
		hostname string
		links    []discovery.Link
		want     string
	}{
		{"raspberrypi", mac(3), "raspberrypi-010203"},
		{"raspberrypi", mac(4), "raspberrypi-010204"},
		{"Pi_2.fritz.box", mac(3), "pi-2-010203"},
		{"", mac(3), "dominion-010203"},
		{"büro", nil, "b-ro"},
		{strings.Repeat("a", 70), nil, strings.Repeat("a", 40)},
		{"--", nil, "dominion"},
	} {
		if got := discovery.HostLabel(c.hostname, c.links); got != c.want {
			t.Errorf("%q is called %q, want %q", c.hostname, got, c.want)
		}
	}
}
