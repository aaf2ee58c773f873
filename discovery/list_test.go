package discovery_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"dominion/discovery"

	"github.com/google/go-cmp/cmp"
)

// house is a leader's entry at addresses.
func house(name string, addresses ...string) discovery.Entry {
	e := discovery.Entry{Service: discovery.DominionService, Instance: name, Host: name + "-pi.local", Port: 8443, Text: map[string]string{"house": name}}
	for _, a := range addresses {
		e.Addresses = append(e.Addresses, netip.MustParseAddr(a))
	}
	return e
}

func withPort(e discovery.Entry, port int) discovery.Entry {
	e.Port = port
	return e
}

func withText(e discovery.Entry, key, value string) discovery.Entry {
	e.Text = map[string]string{key: value}
	return e
}

func onHost(e discovery.Entry, host string) discovery.Entry {
	e.Host = host
	return e
}

type heard []discovery.Entry

// partly is a browse that did not hear everybody.
type partly []discovery.Entry

func TestMergeKeepsWhatIsThere(t *testing.T) {
	here, moved := house("aa", "10.0.0.5"), house("aa", "10.0.0.9")
	for name, c := range map[string]struct {
		browses []any
		want    []discovery.Entry
	}{
		"nothing":                             {[]any{heard{}}, nil},
		"one":                                 {[]any{heard{here}}, []discovery.Entry{here}},
		"one missed less often than patience": {[]any{heard{here}, heard{}, heard{}}, []discovery.Entry{here}},
		"one gone":                            {[]any{heard{here}, heard{}, heard{}, heard{}}, nil},
		"one heard again in between":          {[]any{heard{here}, heard{}, heard{}, heard{here}, heard{}, heard{}}, []discovery.Entry{here}},
		"nobody is missed in half a browse":   {[]any{heard{here}, partly{}, partly{}, partly{}, partly{}}, []discovery.Entry{here}},
		"half a browse brings somebody":       {[]any{partly{here}}, []discovery.Entry{here}},
		"another port":                        {[]any{heard{here}, heard{withPort(here, 9443)}}, []discovery.Entry{withPort(here, 9443)}},
		"another text":                        {[]any{heard{here}, heard{withText(here, "house", "bb")}}, []discovery.Entry{withText(here, "house", "bb")}},
		"two hosts with one name": {[]any{heard{onHost(here, "b.local")}, heard{onHost(here, "a.local")}},
			[]discovery.Entry{onHost(here, "a.local"), onHost(here, "b.local")}},
		"moved: the new address first":     {[]any{heard{here}, heard{moved}}, []discovery.Entry{house("aa", "10.0.0.9", "10.0.0.5")}},
		"moved: the old one is forgotten":  {[]any{heard{here}, heard{moved}, heard{moved}, heard{moved}}, []discovery.Entry{moved}},
		"moved within a browse":            {[]any{heard{here, moved}}, []discovery.Entry{house("aa", "10.0.0.9", "10.0.0.5")}},
		"two interfaces answer in turn":    {[]any{heard{here}, heard{moved}, heard{here}, heard{moved}, heard{here}}, []discovery.Entry{house("aa", "10.0.0.5", "10.0.0.9")}},
		"a missed one keeps its addresses": {[]any{heard{here}, heard{moved}, heard{}, heard{}}, []discovery.Entry{house("aa", "10.0.0.9", "10.0.0.5")}},
		"in order, whoever came first":     {[]any{heard{house("cc", "10.0.0.7")}, heard{house("cc", "10.0.0.7"), here}}, []discovery.Entry{here, house("cc", "10.0.0.7")}},
	} {
		t.Run(name, func(t *testing.T) {
			var known discovery.Known
			for _, browse := range c.browses {
				switch b := browse.(type) {
				case heard:
					known = known.Merge(b, true)
				case partly:
					known = known.Merge(b, false)
				}
			}
			if diff := cmp.Diff(c.want, known.Entries(), compared()); diff != "" {
				t.Errorf("known (-want +got):\n%s", diff)
			}
		})
	}
}

func compared() cmp.Options {
	return cmp.Options{cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Transformer("empty", func(e []discovery.Entry) []discovery.Entry {
		return append([]discovery.Entry{}, e...)
	})}
}

func TestMergeSaysTheSame(t *testing.T) {
	here := house("aa", "10.0.0.5", "10.0.0.6")
	for name, c := range map[string]struct {
		then discovery.Entry
		same bool
	}{
		"the same":        {here, true},
		"another order":   {house("aa", "10.0.0.6", "10.0.0.5"), true},
		"one more":        {house("aa", "10.0.0.5", "10.0.0.6", "10.0.0.7"), false},
		"another port":    {withPort(here, 1), false},
		"another text":    {withText(here, "house", "bb"), false},
		"somebody beside": {house("bb", "10.0.0.8"), false},
	} {
		t.Run(name, func(t *testing.T) {
			before := discovery.Known{}.Merge([]discovery.Entry{here}, true)
			if got := before.Same(before.Merge([]discovery.Entry{c.then}, true)); got != c.same {
				t.Errorf("the same: %v, want %v", got, c.same)
			}
		})
	}
}

func TestAFloodPushesNobodyOut(t *testing.T) {
	own := house("zz", "10.0.0.5")
	known := discovery.Known{}.Merge([]discovery.Entry{own}, true)
	for round := range 4 {
		var flood []discovery.Entry
		for i := range 2 * discovery.MaxEntries {
			flood = append(flood, house(fmt.Sprintf("%d-%d", round, i), "10.0.0.66"))
		}
		known = known.Merge(append(flood, own), true)
		if n := len(known.Entries()); n > discovery.MaxEntries {
			t.Fatalf("%d entries are kept", n)
		}
	}
	if !slices.ContainsFunc(known.Entries(), func(e discovery.Entry) bool { return e.Instance == "zz" }) {
		t.Error("who was known first is not known any more")
	}
	for range discovery.Patience {
		known = known.Merge([]discovery.Entry{own}, true)
	}
	if diff := cmp.Diff([]discovery.Entry{own}, known.Entries(), compared()); diff != "" {
		t.Errorf("known after the flood (-want +got):\n%s", diff)
	}
}

func TestAddressesOfOneAreBounded(t *testing.T) {
	var known discovery.Known
	for i := range 100 {
		known = known.Merge([]discovery.Entry{house("aa", fmt.Sprintf("10.0.0.%d", i), fmt.Sprintf("10.0.1.%d", i))}, true)
	}
	if got := known.Entries()[0].Addresses; len(got) > 8 || got[0] != netip.MustParseAddr("10.0.0.99") {
		t.Errorf("its addresses are %v", got)
	}
}
