package broker_test

import (
	"testing"

	"dominion/broker"
	"dominion/topics"
)

// lateHouse answers with what was true when it was asked.
type lateHouse struct {
	*house
	asked  chan struct{} // has an element for each question
	answer chan struct{} // an element lets one answer go
}

func (h *lateHouse) Password(user, password string) (topics.Account, error) {
	a, err := h.house.Password(user, password)
	h.asked <- struct{}{}
	<-h.answer
	return a, err
}

// An account that ends while somebody logs in with it lets nobody in.
func TestNobodySlipsInWhileExpelled(t *testing.T) {
	h := &lateHouse{ours(), make(chan struct{}, 2), make(chan struct{})}
	d := lan(t, h.house, func(o *broker.Options) { o.Accounts = h })
	code := make(chan *peer, 1)
	go func() { code <- try(t, d.plain.dial(elsewhere), "late", as("ann", "right")) }()
	<-h.asked
	h.forget("ann")
	if n := d.Expel(h.stands); n != 0 {
		t.Errorf("%d expelled, want none: nobody is in yet", n)
	}
	h.answer <- struct{}{}
	select {
	case <-h.asked: // again
		h.answer <- struct{}{}
		(<-code).is(4)
	case p := <-code:
		t.Errorf("answered with code %d by what was true before", p.connack.ReasonCode)
	}
}

// A new role ends the connections of the old one, of whatever kind of login.
func TestExpelEndsEveryConnectionOfAnAccount(t *testing.T) {
	h := ours()
	d := lan(t, h, nil)
	var anns []*peer
	for _, id := range []string{"one", "two", "three"} {
		p := join(t, d.plain.dial(elsewhere), id, with(as("ann", "right"), withWill("dominion/attic/command/ping/"+id, "lost", false)))
		anns = append(anns, p)
	}
	watcher := join(t, d.Pipe(coordinator), "watcher", nil)
	watcher.subscribe(1, "dominion/#")
	h.change("ann", topics.Account{Name: "user ann", Who: topics.Identity{Role: topics.RoleViewer, Name: "ann"}, Key: "new"})
	if n := d.Expel(h.stands); n != len(anns) {
		t.Errorf("%d expelled, want %d", n, len(anns))
	}
	for _, p := range anns {
		p.gone()
	}
	wills := 0
	for _, pk := range watcher.upTo("dominion/coordinator/event/sync/token") {
		if string(pk.Payload) == "lost" {
			wills++
		}
	}
	if wills != len(anns) {
		t.Errorf("%d wills before Expel returned, want %d", wills, len(anns))
	}
	again := join(t, d.plain.dial(elsewhere), "one", as("ann", "right"))
	again.publish("dominion/attic/command/ping/host", "now", 1, false)
	d.refused.are(t, broker.Refusal{
		What: broker.Publishing, Client: "one", Account: "user ann",
		Who: []topics.Identity{{Role: topics.RoleViewer, Name: "ann"}}, Topic: "dominion/attic/command/ping/host",
	})
}
