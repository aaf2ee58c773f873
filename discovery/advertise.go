package discovery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/grandcat/zeroconf"
	"github.com/rs/zerolog"
)

// look is how often interfaces and announcements are looked at again.
const look = 3 * time.Second

// maxAnnouncements bounds what one process announces.
const maxAnnouncements = 16

// Advertise announces services and answers who asks for them, until ctx ends;
// then it says goodbye. What is asked every three seconds what there is to
// announce, which may be nothing. On each interface the answer has the addresses
// of that interface; when these change, or an announcement does, it is announced
// anew. Without an interface it waits for one. The error is always nil: what
// cannot be announced is logged, left out, and tried again.
//
// The library leaves a goroutine for each announcement that has ended, for 4 s
// at most.
func Advertise(ctx context.Context, log zerolog.Logger, what func() []Announcement) error {
	a := advertiser{log: log, up: map[string]*zeroconf.Server{}}
	for ok := true; ok; ok = wait(ctx, look) {
		announcements := what()
		if len(announcements) == 0 && len(a.up) == 0 { // most of the time: the interfaces do not matter
			a.tell(nil)
			continue
		}
		all, err := readLinks()
		if err != nil {
			a.tell(err)
			continue
		}
		a.follow(all, announcements)
	}
	a.follow(nil, nil)
	return nil
}

// advertiser is what is announced at the moment.
type advertiser struct {
	log  zerolog.Logger
	up   map[string]*zeroconf.Server // by registration.key
	host string                      // in answers; kept once it is known
	told string                      // the trouble of last time
}

// registration is an announcement on the interfaces of a moment. The key differs
// when anything of it does.
type registration struct {
	Announcement
	key string
}

// registrations returns what should be announced on these links, and what is
// wrong with the rest.
func registrations(links []link, announcements []Announcement) (wanted []registration, wrong []error) {
	if len(links) == 0 {
		return nil, nil
	}
	var on strings.Builder
	for _, l := range links {
		fmt.Fprintln(&on, l.Index, l.Name, l.networks)
	}
	names := map[string]bool{}
	for _, a := range announcements {
		name := a.Instance + "." + a.Service
		switch err := a.check(); {
		case err != nil:
			wrong = append(wrong, err)
		case names[name]:
			wrong = append(wrong, fmt.Errorf("announce %s: twice", name))
		case len(wanted) == maxAnnouncements:
			return wanted, append(wrong, fmt.Errorf("announce %s: there are %d already", name, maxAnnouncements))
		default:
			names[name] = true
			wanted = append(wanted, registration{a, fmt.Sprintf("%s %d %q\n%s", name, a.Port, formatText(a.Text), on.String())})
		}
	}
	return wanted, wrong
}

// follow ends what is no longer to be announced, and begins what is new.
func (a *advertiser) follow(all []link, announcements []Announcement) {
	links := usable(all)
	wanted, wrong := registrations(links, announcements)
	for key, server := range a.up {
		if !slices.ContainsFunc(wanted, func(r registration) bool { return r.key == key }) {
			server.Shutdown()
			delete(a.up, key)
		}
	}
	for _, r := range wanted {
		if a.up[r.key] == nil {
			wrong = append(wrong, a.begin(r, all, links))
		}
	}
	if len(links) == 0 && len(announcements) > 0 {
		wrong = append(wrong, errNowhere)
	}
	a.tell(errors.Join(wrong...))
}

// begin announces. The library is given no addresses: so each answer has those
// of the interface that it goes out by.
func (a *advertiser) begin(r registration, all, on []link) error {
	if a.host == "" {
		hostname, _ := os.Hostname() // without one, another word is used
		a.host = hostLabel(hostname, all)
	}
	server, err := zeroconf.RegisterProxy(r.Instance, r.Service, "local.", r.Port, a.host, nil, formatText(r.Text), interfaces(on))
	if err != nil {
		return fmt.Errorf("announce %s.%s: %w", r.Instance, r.Service, err)
	}
	a.up[r.key] = server
	return nil
}

// tell logs what cannot be announced, once.
func (a *advertiser) tell(err error) {
	var trouble string
	if err != nil {
		trouble = err.Error()
	}
	if trouble != "" && trouble != a.told {
		a.log.Warn().Err(err).Msg("others cannot find this machine")
	}
	a.told = trouble
}
