package main

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"dominion/broker"
	"dominion/coordinator"
	"dominion/identity"
	"dominion/identity/joining"
	"dominion/topics"
)

// gate is who may come in: the house's accounts, the door at which machines
// join, and the connections of those who no longer belong. It is the
// coordinator's Gate, and tells it what happens there.
type gate struct {
	accounts *identity.House
	door     *joining.Door
	broker   *broker.Server // nil: the house has its own
	shared   bool           // and all its machines have one login there
	notices  chan coordinator.Notice
	log      zerolog.Logger

	refusals   chan broker.Refusal
	turnedAway chan joining.Happening
	store      chan error   // the broker's last word on its store: see store.go
	missed     atomic.Int64 // refusals that nobody had the time to hear
	offences   offences     // of run alone
}

const noticesAtOnce = 64

func newGate(accounts *identity.House, log zerolog.Logger) *gate {
	return &gate{
		accounts: accounts, log: log,
		notices:  make(chan coordinator.Notice, noticesAtOnce),
		refusals: make(chan broker.Refusal, noticesAtOnce), turnedAway: make(chan joining.Happening, noticesAtOnce),
		store: make(chan error, 1),
	}
}

// Forget takes a node's key and logins from it, and ends its connections and
// those of its services.
func (g *gate) Forget(node topics.Node) error {
	joined := slices.ContainsFunc(g.accounts.Nodes(), func(n identity.Node) bool { return n.Name == node })
	user := slices.ContainsFunc(g.accounts.Users(), func(u identity.User) bool {
		return u.Name == string(node) && u.Role == topics.RoleNode
	})
	var err error
	switch {
	case joined:
		err = g.accounts.Forget(node)
	case user: // a microdomain
		err = g.accounts.RemoveUser(string(node))
	default:
		err = coordinator.ErrNoAccount
	}
	g.expel()
	if g.shared && err == nil {
		return coordinator.ErrNoAccount // the login that all machines share is not ours to end
	}
	return err
}

// Accept lets a machine in that asks in the join window.
func (g *gate) Accept(node topics.Node) error { return g.door.Accept(node) }

// Reject turns away a machine that asks in the join window.
func (g *gate) Reject(node topics.Node) error { return g.door.Reject(node) }

// Window opens the join window; 0 closes it.
func (g *gate) Window(lasts time.Duration) error {
	g.door.Window(lasts)
	return nil
}

func (g *gate) expel() {
	if g.broker == nil {
		return
	}
	if n := g.broker.Expel(g.accounts.Stands); n > 0 {
		g.log.Info().Int("connections", n).Msg("connections ended: their logins no longer stand")
	}
}

// refused is told of refusals in the goroutines of clients.
func (g *gate) refused(r broker.Refusal) {
	select {
	case g.refusals <- r:
	default:
		g.missed.Add(1) // there are enough of them to tell
	}
}

// run tells the coordinator what is refused, and looks each second whether the
// command line has taken a login away.
func (g *gate) run(ctx context.Context) error {
	look := time.NewTicker(time.Second)
	defer look.Stop()
	troubled := ""
	for {
		select {
		case r := <-g.refusals:
			g.tellRefusal(r, time.Now())
		case h := <-g.turnedAway:
			g.tellTurnedAway(h, time.Now())
		case <-look.C:
			g.offences.untold += int(g.missed.Swap(0))
			g.expel()
			g.trouble(&troubled)
			g.tellStore()
		case <-ctx.Done():
			return nil
		}
	}
}

// trouble tells when the lists of who belongs cannot be read, and when they can
// again; before is what was told last.
func (g *gate) trouble(before *string) {
	n := coordinator.Notice{ID: "identity"}
	now := ""
	if err := g.accounts.Trouble(); err != nil {
		now = err.Error()
		n.Alert = &topics.Alert{Severity: topics.SeverityError, Text: now, Next: "put the file back from a backup"}
	}
	if now != *before {
		*before = now
		g.tell(n)
	}
}

// tell hands a notice to the coordinator; when that one does not take any, the
// log has it, and tell returns false.
func (g *gate) tell(n coordinator.Notice) bool {
	select {
	case g.notices <- n:
		return true
	default:
		g.log.Warn().Str("alert", n.ID).Msg("the coordinator takes no more notices")
		return false
	}
}

// happened tells of what happens at the door, from any goroutine.
func (g *gate) happened(h joining.Happening) {
	if h.What == joining.Refused {
		select {
		case g.turnedAway <- h:
		default:
			g.missed.Add(1)
		}
		return
	}
	g.log.Info().Str("what", h.What).Str("domain", string(h.Node)).Str("from", h.Remote).Msg(h.Text)
	g.tell(doorNotice(h))
	if h.What == joining.Joined { // so it is of no matter that the window was closed to it
		g.tell(coordinator.Notice{ID: closedTo(h.Remote)})
	}
}

// closedTo is the alert that somebody asks from an address while the window is
// closed: one apart, so that no graver refusal makes way for it.
func closedTo(remote string) string { return "refused-join-" + slug(network(remote)) + "-closed" }

// tellTurnedAway tells of somebody who was refused at the door.
func (g *gate) tellTurnedAway(h joining.Happening, now time.Time) {
	untold, ok := g.offences.tell(network(h.Remote), "join "+string(h.Why), now)
	if !ok {
		return
	}
	g.log.Warn().Str("from", h.Remote).Str("why", string(h.Why)).Int("untold", untold).Msg(h.Text)
	g.tell(doorNotice(h))
}

// doorNotice is what the house shows of a happening at the door.
func doorNotice(h joining.Happening) coordinator.Notice {
	n := coordinator.Notice{What: h.What, Subject: string(h.Node), Text: h.Text}
	switch h.What {
	case joining.Asks:
		n.ID, n.For = "join-"+string(h.Node), askLasts // it asks again and again
		n.Alert = &topics.Alert{Severity: topics.SeverityInfo, Text: h.Text, Next: h.Next, About: string(h.Node)}
	case joining.Refused:
		n.Subject = slug(network(h.Remote))
		n.ID, n.For = "refused-join-"+n.Subject, alertLasts
		if h.Why == joining.WindowClosed {
			n.ID, n.For = closedTo(h.Remote), askLasts
		}
		n.Alert = &topics.Alert{Severity: topics.SeverityWarning, Text: h.Text, Next: h.Next}
	default: // it is settled
		n.ID = "join-" + string(h.Node)
	}
	return n
}

const (
	alertLasts = 10 * time.Minute // after the last refusal that was told
	askLasts   = 2 * time.Minute
)

// tellRefusal tells of something that the broker refused.
func (g *gate) tellRefusal(r broker.Refusal, now time.Time) {
	source := network(r.Remote)
	if len(r.Who) > 0 {
		source = cmp.Or(r.Account, "anonymous")
	}
	untold, ok := g.offences.tell(source, string(r.What)+" "+r.Topic+" "+r.Account+" "+r.Why, now)
	if !ok {
		return
	}
	g.log.Warn().Str("what", string(r.What)).Str("client", cut(r.Client)).Str("account", cut(r.Account)).
		Str("from", r.Remote).Str("topic", cut(r.Topic)).Str("why", cut(r.Why)).Int("untold", untold).Msg("refused")
	id := "refused-from-" + slug(source)
	if len(r.Who) > 0 {
		id = "refused-client-" + slug(source)
	}
	text := refusalText(r)
	if untold > 0 {
		text += fmt.Sprintf(" (and %d more)", untold)
	}
	g.tell(coordinator.Notice{
		ID: id, For: alertLasts, What: "refused", Subject: strings.TrimPrefix(id, "refused-"), Text: text,
		Alert: &topics.Alert{Severity: topics.SeverityWarning, Text: text, Next: refusalRemedy(r)},
	})
}

// cut bounds what strangers say.
func cut(s string) string {
	const longest = 120
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest], "") + "…"
}

func refusalText(r broker.Refusal) string {
	who := fmt.Sprintf("client %.60q", r.Client)
	if r.Client == "" { // it spoke HTTP, or has none
		who = "somebody"
	}
	if r.Account != "" {
		who += " (" + cut(r.Account) + ")"
	}
	who += " from " + withoutPort(r.Remote)
	topic := cut(r.Topic)
	switch r.What {
	case broker.Opening:
		return fmt.Sprintf("a web page in a browser at %s was not let in: %s", withoutPort(r.Remote), r.Why)
	case broker.Connecting:
		return fmt.Sprintf("%s was not let in: %s", who, cut(r.Why))
	case broker.Willing:
		return fmt.Sprintf("%s was not let in with its last will on %s: %s", who, topic, r.Why)
	case broker.Subscribing:
		return fmt.Sprintf("%s may not read %s: %s", who, topic, r.Why)
	}
	return fmt.Sprintf("%s may not write to %s: %s", who, topic, r.Why)
}

func refusalRemedy(r broker.Refusal) string {
	if r.What == broker.Opening {
		return "if it is yours: add it to origins in the leader's configuration, and start it again"
	}
	if r.What == broker.Connecting || r.Account == "" {
		return "if it is yours: dominion invite (a machine) or dominion user add (anything else)"
	}
	return "if it should: dominion user list shows who has which role"
}

// slug is a name on the bus for a client id or an address.
func slug(s string) string {
	name := strings.Trim(strings.Map(func(r rune) rune {
		if r < 0x80 && topics.CheckName(string(r)) == nil || r == '_' || r == '-' {
			return r
		}
		return '-'
	}, s), "-_")
	if name == "" {
		return "unnamed"
	}
	const longest = 40
	return strings.TrimRight(name[:min(len(name), longest)], "-_")
}

// withoutPort is an address without its port.
func withoutPort(remote string) string {
	if h, _, err := net.SplitHostPort(remote); err == nil {
		return h
	}
	return remote
}
