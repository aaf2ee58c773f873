package discovery_test

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"strings"
	"testing"
	"unicode/utf8"

	"dominion/discovery"

	"github.com/google/go-cmp/cmp"
	"github.com/grandcat/zeroconf"
)

func TestTextsAreRead(t *testing.T) {
	for name, c := range map[string]struct {
		texts []string
		want  map[string]string
	}{
		"none":               {nil, map[string]string{}},
		"pairs":              {[]string{"v=1", "name=My house"}, map[string]string{"v": "1", "name": "My house"}},
		"= in a value":       {[]string{"url=mqtt://h/?a=b"}, map[string]string{"url": "mqtt://h/?a=b"}},
		"a flag":             {[]string{"tls"}, map[string]string{"tls": ""}},
		"keys of any case":   {[]string{"House=aa"}, map[string]string{"house": "aa"}},
		"the first counts":   {[]string{"v=1", "V=2"}, map[string]string{"v": "1"}},
		"no key":             {[]string{"=x", ""}, map[string]string{}},
		"escaped letters":    {[]string{`name=M\195\188ller \"A\\B\"`}, map[string]string{"name": `Müller "A\B"`}},
		"no escape":          {[]string{`a=\300`, `b=\`, `c=\09`}, map[string]string{"a": "300", "b": "", "c": "09"}},
		"not UTF-8":          {[]string{`name=\255`, "v=1"}, map[string]string{"v": "1"}},
		"a terminal's words": {[]string{`name=\027[2J`, "v=1"}, map[string]string{"v": "1"}},
		"writing turned":     {[]string{"name=a\u202eb"}, map[string]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, discovery.ParseText(c.texts)); diff != "" {
				t.Errorf("read (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTextsAreWrittenInOrder(t *testing.T) {
	got := discovery.FormatText(map[string]string{"v": "1", "name": `A\B`, "base": "dominion"})
	if diff := cmp.Diff([]string{"base=dominion", `name=A\\B`, "v=1"}, got); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
}

// answer is what the library gives.
func answer(instance, host string, text []string, ips ...string) *zeroconf.ServiceEntry {
	a := zeroconf.NewServiceEntry(instance, discovery.DominionService, "local.")
	a.HostName, a.Port, a.Text = host, 8443, text
	for _, s := range ips {
		if ip := net.ParseIP(s); ip.To4() != nil {
			a.AddrIPv4 = append(a.AddrIPv4, ip)
		} else {
			a.AddrIPv6 = append(a.AddrIPv6, ip)
		}
	}
	return a
}

func TestAnswersAreRead(t *testing.T) {
	networks := onEth0("10.0.0.5/24")
	for name, c := range map[string]struct {
		answer    *zeroconf.ServiceEntry
		instance  string // "" if it is to be left out
		addresses string
		link      string
	}{
		"plain":                {answer("home", "pi1.local.", nil, "10.0.0.9"), "home", "[10.0.0.9]", "eth0"},
		"another network":      {answer("home", "pi1.local.", nil, "192.168.7.9"), "home", "[192.168.7.9]", ""},
		"escaped":              {answer(`My\032house\.2`, "pi1.local.", nil, "10.0.0.9"), "My house.2", "[10.0.0.9]", "eth0"},
		"both kinds, v4 first": {answer("home", "pi1.local.", nil, "fd00::9", "10.0.0.9"), "home", "[10.0.0.9 fd00::9]", "eth0"},
		"twice":                {answer("home", "pi1.local.", nil, "10.0.0.9", "10.0.0.9"), "home", "[10.0.0.9]", "eth0"},
		"useless addresses":    {answer("home", "pi1.local.", nil, "fe80::1", "127.0.0.1", "0.0.0.0", "224.0.0.251", "255.255.255.255", "10.0.0.9"), "home", "[10.0.0.9]", "eth0"},
		"no address":           {answer("home", "pi1.local.", nil, "fe80::1"), "", "", ""},
		"no name":              {answer("", "pi1.local.", nil, "10.0.0.9"), "", "", ""},
		"a terminal's words":   {answer(`\027[2Jhome`, "pi1.local.", nil, "10.0.0.9"), "", "", ""},
		"a host not to show":   {answer("home", `\007.local.`, nil, "10.0.0.9"), "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			e, ok := discovery.Parse(c.answer, networks)
			if ok != (c.instance != "") || e.Instance != c.instance {
				t.Fatalf("read %+v, %v; want %q", e, ok, c.instance)
			}
			if ok && (fmt.Sprint(e.Addresses) != c.addresses || e.Interface != c.link || e.Host != "pi1.local") {
				t.Errorf("read %+v", e)
			}
		})
	}
}

// FuzzAnswers holds that whatever strangers answer is bounded and can be shown.
func FuzzAnswers(f *testing.F) {
	f.Add(`My\032house`, "pi.local.", "v=1\nname=A\\195\\188", []byte{10, 0, 0, 9, 10, 0, 0, 8})
	f.Add("\x00", "", "=\n==\n\\", []byte{})
	f.Add(`\`, `\9`, strings.Repeat("a\n", 99), []byte{1})
	f.Fuzz(func(t *testing.T, instance, host, text string, ips []byte) {
		a := answer(instance, host, strings.Split(text, "\n"))
		for len(ips) >= 4 {
			a.AddrIPv4, ips = append(a.AddrIPv4, net.IP(ips[:4])), ips[4:]
		}
		a.AddrIPv6 = append(a.AddrIPv6, net.IP(ips))
		e, ok := discovery.Parse(a, onEth0("10.0.0.5/24"))
		if !ok {
			return
		}
		if len(e.Addresses) == 0 || len(e.Addresses) > 8 || len(e.Text) > discovery.MaxPairs || e.Instance == "" {
			t.Fatalf("not bounded: %+v", e)
		}
		for _, shown := range append([]string{e.Instance, e.Host}, fmt.Sprint(e.Text)) {
			if !utf8.ValidString(shown) || strings.ContainsAny(shown, "\x1b\n\r\x00\u202e") {
				t.Fatalf("not to be shown: %q", shown)
			}
		}
		for _, address := range e.Addresses {
			if address.IsLoopback() || address.IsMulticast() || address.IsUnspecified() || address == netip.MustParseAddr("255.255.255.255") {
				t.Fatalf("not to be reached: %v", address)
			}
		}
		if again := discovery.ParseText(discovery.FormatText(e.Text)); !maps.Equal(again, e.Text) {
			t.Fatalf("written and read again: %v, was %v", again, e.Text)
		}
	})
}
