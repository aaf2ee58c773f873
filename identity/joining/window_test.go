package joining_test

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"dominion/identity"
	"dominion/identity/joining"
	"dominion/topics"
)

// asker is a machine that waits in the window.
type asker struct {
	as    topics.Node
	words string
	done  chan struct{} // closed when m and err are set
	m     *identity.Membership
	err   error
}

// asks has a machine ask, and returns when it shows its words.
func asks(t *testing.T, o joining.Options) *asker {
	t.Helper()
	a := &asker{done: make(chan struct{})}
	shown := make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	go func() {
		defer cancel()
		defer close(a.done)
		a.m, a.err = joining.Ask(ctx, joining.Impatient(o), func(as topics.Node, words string) {
			a.as, a.words = as, words
			close(shown)
		})
	}()
	t.Cleanup(func() { cancel(); <-a.done })
	select {
	case <-shown:
	case <-a.done:
	}
	return a
}

// answered waits until the machine has heard what was decided.
func (a *asker) answered() (*identity.Membership, error) {
	<-a.done
	return a.m, a.err
}

func TestTheWindowBringsMachinesIn(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	l.door.Window(10 * time.Minute)
	a := asks(t, machine(t, l, "pi2", ""))
	got := l.door.Requests()
	if len(got) != 1 {
		t.Fatalf("requests: %+v, %v", got, a.err)
	}
	want := joining.Request{As: "pi2", Node: "pi2", ID: "machine-of-pi2", Remote: "127.0.0.1", Words: a.words, Since: got[0].Since}
	if diff := cmp.Diff(want, got[0]); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	if h := l.last(); h.What != joining.Asks || h.Words != a.words || h.Next != "dominion accept pi2" || strings.Count(a.words, "-") != 3 {
		t.Errorf("told: %+v", h)
	}
	if nodes := l.nodes(); len(nodes) > 0 {
		t.Errorf("admitted before it was accepted: %v", nodes)
	}
	if err := l.door.Accept("pi2"); err != nil {
		t.Fatal(err)
	}
	m, err := a.answered()
	if err != nil || m.Node != "pi2" || m.House != "7f3a9c" {
		t.Fatalf("%+v, %v", m, err)
	}
	if user, password := identity.NodeLogin("pi2", m.Secret); !known(l.house, user, password) {
		t.Error("the secret is not the ledger's")
	}
	if err := l.door.Accept("pi2"); err == nil || !strings.Contains(err.Error(), "waiting: none") {
		t.Errorf("accepted twice: %v", err)
	}
}

func TestTheOwnerSaysNo(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	l.door.Window(10 * time.Minute)
	a := asks(t, machine(t, l, "pi2", ""))
	if err := l.door.Reject("pi2"); err != nil {
		t.Fatal(err)
	}
	_, err := a.answered()
	wants(t, err, joining.Rejected)
	if h := l.last(); h.What != joining.Left || h.Node != "pi2" {
		t.Errorf("told: %+v", h)
	}
}

// TestAfterARejectTheNameIsFree holds that who asks again is accepted by its
// plain name, and that each machine shows the name that works.
func TestAfterARejectTheNameIsFree(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	l.door.Window(time.Hour)
	o := machine(t, l, "pi2", "")
	first := asks(t, o)
	if err := l.door.Reject("pi2"); err != nil {
		t.Fatal(err)
	}
	_, err := first.answered()
	wants(t, err, joining.Rejected)
	again, other := asks(t, o), asks(t, machine(t, l, "pi2", ""))
	var listed []topics.Node
	for _, r := range l.door.Requests() {
		listed = append(listed, r.As)
	}
	if diff := cmp.Diff([]topics.Node{"pi2", "pi2-2"}, listed); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(listed, []topics.Node{again.as, other.as}); diff != "" {
		t.Errorf("on the machines' screens (-listed +shown):\n%s", diff)
	}
	if err := l.door.Accept(again.as); err != nil {
		t.Error(err)
	}
	if m, err := again.answered(); err != nil || m.Node != "pi2" {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestAClosedWindow(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	o := machine(t, l, "pi2", "")
	_, err := joining.Ask(t.Context(), o, func(topics.Node, string) { t.Error("words were shown") })
	wants(t, err, joining.WindowClosed)

	l.door.Window(10 * time.Minute)
	a := asks(t, o)
	l.door.Window(0)
	_, err = a.answered()
	wants(t, err, joining.WindowClosed)

	l.door.Window(10 * time.Minute)
	if ends := l.door.WindowEnds(); !ends.Equal(l.clock.Now().Add(10 * time.Minute)) {
		t.Errorf("the window ends at %v", ends)
	}
	l.clock.add(11 * time.Minute)
	_, err = joining.Ask(t.Context(), o, func(topics.Node, string) { t.Error("words were shown") })
	wants(t, err, joining.WindowClosed)
	if ends := l.door.WindowEnds(); !ends.IsZero() {
		t.Errorf("a closed window ends at %v", ends)
	}
}

func TestWhoWaitsMayBeAcceptedWhenTheWindowHasEnded(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	l.door.Window(time.Second)
	a := asks(t, machine(t, l, "pi2", ""))
	l.clock.add(2 * time.Second)
	if err := l.door.Accept("pi2"); err != nil {
		t.Error(err)
	}
	if _, err := a.answered(); err != nil {
		t.Error(err)
	}
}

func TestAMachineThatHasGoneNoLongerWaits(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	l.door.Window(time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := joining.Ask(ctx, machine(t, l, "pi2", ""), func(topics.Node, string) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if n := len(l.door.Requests()); n != 1 {
		t.Errorf("%d wait", n)
	}
	l.clock.add(11 * time.Second)
	if all := l.door.Requests(); len(all) > 0 {
		t.Errorf("%+v", all)
	}
	if h := l.last(); h.What != joining.Left || h.Node != "pi2" {
		t.Errorf("told: %+v", h)
	}
	if err := l.door.Accept("pi2"); err == nil || !strings.Contains(err.Error(), "pi2 no longer asks to join: it has gone") {
		t.Errorf("who has gone was accepted: %v", err)
	}
	if nodes := l.nodes(); len(nodes) > 0 {
		t.Errorf("admitted: %v", nodes)
	}
}

func TestNobodyWaitsForever(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	l.door.Window(time.Hour)
	o := machine(t, l, "pi2", "")
	began := l.clock.Now()
	o.Door = between(t, l, func(path string, question bool, _ message) {
		if path == "/join/wait" && question {
			l.clock.add(8 * time.Second)
		}
	})
	_, err := asks(t, o).answered()
	wants(t, err, joining.Stale)
	if waited := l.clock.Now().Sub(began); waited < 10*time.Minute || waited > 11*time.Minute {
		t.Errorf("it waited for %v", waited)
	}
}

func TestTwoMachinesOfOneNameAreShownApart(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	l.door.Window(time.Hour)
	first := asks(t, machine(t, l, "pi2", ""))
	o := machine(t, l, "pi2", "")
	o.ID = "another"
	second := asks(t, o)
	third := asks(t, machine(t, l, "pi2-2", ""))
	var names []topics.Node
	for _, r := range l.door.Requests() {
		names = append(names, r.As)
	}
	if diff := cmp.Diff([]topics.Node{"pi2", "pi2-2", "pi2-2-2"}, names); diff != "" {
		t.Fatal(diff)
	}
	if err := l.door.Accept("pi2-2"); err != nil {
		t.Fatal(err)
	}
	if m, err := second.answered(); err != nil || m.Node != "pi2" {
		t.Errorf("%+v, %v", m, err)
	}
	var taken *identity.NameTaken
	if err := l.door.Accept("pi2"); !errors.As(err, &taken) || taken.ID != "another" {
		t.Errorf("the name is taken now: %v", err)
	}
	var left []topics.Node
	for _, h := range l.all() {
		if h.What == joining.Left {
			left = append(left, h.Node)
		}
	}
	if diff := cmp.Diff([]topics.Node{"pi2-2", "pi2"}, left); diff != "" {
		t.Errorf("told that they no longer wait (-want +got):\n%s", diff)
	}
	if _, err := first.answered(); !errors.As(err, &taken) {
		t.Errorf("the machine was told %v", err)
	}
	if err := l.door.Accept("pi2-2-2"); err != nil {
		t.Error(err)
	}
	if m, err := third.answered(); err != nil || m.Node != "pi2-2" {
		t.Errorf("%+v, %v", m, err)
	}
}

func TestANameIsNotGivenToAnotherWhileTheWindowIsOpen(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	l.door.Window(time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := joining.Ask(ctx, machine(t, l, "pi2", ""), func(topics.Node, string) { cancel() }); err == nil {
		t.Fatal("it joined")
	}
	l.clock.add(time.Minute) // the owner has seen pi2's words, and it has gone
	o := machine(t, l, "pi2", "")
	asks(t, o)
	if err := l.door.Accept("pi2"); err == nil {
		t.Error("another machine was accepted than was seen")
	}
	if all := l.door.Requests(); len(all) != 1 || all[0].As != "pi2-2" {
		t.Errorf("%+v", all)
	}
}

// TestTheWindowReplacesNoMember holds that who claims a member's name and id
// does not get its place by an accept, which may come from elsewhere than the
// leader's screen; a code does it, or forgetting the member.
func TestTheWindowReplacesNoMember(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	o := machine(t, l, "pi2", l.invite(t))
	before, err := join(t, o)
	if err != nil {
		t.Fatal(err)
	}
	l.door.Window(time.Hour)
	o.Key = nil
	a := asks(t, o)
	if all := l.door.Requests(); len(all) != 1 || !all[0].Member {
		t.Errorf("%+v", all)
	}
	if h := l.last(); !strings.Contains(h.Text, "is in the house already") || h.Next != "dominion invite" {
		t.Errorf("told: %+v", h)
	}
	err = l.door.Accept("pi2")
	if err == nil || !strings.Contains(err.Error(), "dominion invite") || !strings.Contains(err.Error(), "dominion forget pi2") {
		t.Errorf("accepted: %v", err)
	}
	_, err = a.answered()
	wants(t, err, joining.Member)
	if err != nil && !strings.Contains(err.Error(), "dominion forget pi2") {
		t.Errorf("the machine is told: %v", err)
	}
	if h := l.last(); h.What != joining.Left || h.Node != "pi2" {
		t.Errorf("told: %+v", h)
	}
	if !stands(t, l, before) {
		t.Fatal("the member's key counts no more")
	}

	o.Code = l.invite(t)
	again, err := join(t, o)
	if err != nil {
		t.Fatalf("with a code: %v", err)
	}
	if !stands(t, l, again) || stands(t, l, before) {
		t.Error("the code did not replace the key")
	}
	if h := l.last(); h.What != joining.Joined || !strings.Contains(h.Text, "joined again") {
		t.Errorf("told: %+v", h)
	}
	if err := l.house.Forget("pi2"); err != nil {
		t.Fatal(err)
	}
	a = asks(t, o)
	if err := l.door.Accept(l.door.Requests()[0].As); err != nil {
		t.Errorf("after it was forgotten: %v", err)
	}
	if _, err := a.answered(); err != nil {
		t.Error(err)
	}
}

// TestTwoThatSayToBeOneMachine holds that accepting the second does not undo
// the first, though neither was a member when it asked.
func TestTwoThatSayToBeOneMachine(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	l.door.Window(time.Hour)
	a, b := asks(t, machine(t, l, "pi2", "")), asks(t, machine(t, l, "pi2", ""))
	if err := l.door.Accept("pi2"); err != nil {
		t.Fatal(err)
	}
	if err := l.door.Accept("pi2-2"); err == nil {
		t.Error("both were accepted")
	}
	if m, err := a.answered(); err != nil || !stands(t, l, m) {
		t.Errorf("the first: %v", err)
	}
	_, err := b.answered()
	wants(t, err, joining.Member)
}

// stands tells whether the certificate of a membership counts.
func stands(t *testing.T, l *leader, m *identity.Membership) bool {
	t.Helper()
	block, _ := pem.Decode(m.Certificate)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	_, err = l.house.Certificate(leaf)
	return err == nil
}

func TestAFullDiskWhenAMachineIsAccepted(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	l.door.Window(time.Hour)
	a := asks(t, machine(t, l, "pi2", ""))
	ledger, away := filepath.Join(l.dir, "identity"), filepath.Join(l.dir, "away")
	if err := os.Rename(ledger, away); err != nil {
		t.Fatal(err)
	}
	if err := l.door.Accept("pi2"); err == nil {
		t.Error("accepted without a ledger")
	}
	if err := os.Rename(away, ledger); err != nil {
		t.Fatal(err)
	}
	if err := l.door.Accept("pi2"); err != nil {
		t.Errorf("again: %v", err)
	}
	if _, err := a.answered(); err != nil {
		t.Error(err)
	}
}

func TestAMachineIsAcceptedOnce(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	l.door.Window(time.Hour)
	a := asks(t, machine(t, l, "pi2", ""))
	var wg sync.WaitGroup
	errs := make(chan error, 8)
	for range cap(errs) {
		wg.Go(func() { errs <- l.door.Accept("pi2") })
	}
	wg.Wait()
	close(errs)
	accepted := 0
	for err := range errs {
		if err == nil {
			accepted++
		}
	}
	if accepted != 1 || l.happenings(joining.Joined, "") != 1 {
		t.Errorf("accepted %d times, told %d times", accepted, l.happenings(joining.Joined, ""))
	}
	if m, err := a.answered(); err != nil {
		t.Error(err)
	} else if user, password := identity.NodeLogin("pi2", m.Secret); !known(l.house, user, password) {
		t.Error("the secret is not the ledger's")
	}
}

func TestAnAddressFillsTheWindowOnlySoFar(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	l.door.Window(time.Hour)
	waiting := 0
	for range 12 {
		a := asks(t, machine(t, l, "pi2", ""))
		if a.words != "" {
			waiting++
			continue
		}
		_, err := a.answered()
		wants(t, err, joining.Busy)
	}
	if waiting != 8 || len(l.door.Requests()) != 8 {
		t.Errorf("%d wait", waiting)
	}
}

func TestWhoeverIsAnsweredAtOnceIsToldSo(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	l.door.Window(time.Hour)
	for name, alter := range map[string]func(message){
		"waiting, and a box":         func(m message) { m["waiting"], m["box"] = true, "AAAA" },
		"neither waiting nor a box":  func(m message) { delete(m, "waiting") },
		"a box of another's making":  func(m message) { m["box"] = strings.Repeat("A", 400) },
		"another version's answer":   func(m message) { m["v"] = 2 },
		"waiting is not true nor no": func(m message) { m["waiting"] = "perhaps" },
	} {
		t.Run(name, func(t *testing.T) {
			o := machine(t, l, "pi2", "")
			o.Door = between(t, l, func(path string, question bool, m message) {
				if path == "/join/wait" && !question {
					alter(m)
				}
			})
			if m, err := asks(t, o).answered(); err == nil {
				t.Errorf("it joined %s", m.House)
			}
		})
	}
	if nodes := l.nodes(); len(nodes) > 0 {
		t.Errorf("admitted: %v", nodes)
	}
}

func TestRunTellsWhenTheWindowCloses(t *testing.T) {
	house, err := identity.Create(filepath.Join(t.TempDir(), "identity"), "Birkenweg")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		told := make(chan joining.Happening, 10)
		d := joining.NewDoor(joining.DoorOptions{House: house, Dir: t.TempDir(), Tell: func(h joining.Happening) { told <- h }})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- d.Run(ctx) }()
		began := time.Now()
		d.Window(time.Minute)
		for _, want := range []string{"the join window is open for 1m0s", "the join window is closed"} {
			if h := <-told; h.What != joining.Opened || h.Text != want {
				t.Errorf("told %+v, want %s", h, want)
			}
		}
		if late := time.Since(began) - time.Minute; late < 0 || late > 5*time.Second {
			t.Errorf("told %v late", late)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestWordsAreApart(t *testing.T) {
	words := strings.Fields(joining.WordList)
	seen := map[string]bool{}
	for _, w := range words {
		if seen[w] || len(w) < 3 || len(w) > 8 || strings.Trim(w, "abcdefghijklmnopqrstuvwxyz") != "" {
			t.Errorf("%q: twice, too short, too long or no plain word", w)
		}
		seen[w] = true
	}
	if len(words) != 256 {
		t.Errorf("%d words", len(words))
	}
	if a, b := joining.WordsOf([]byte("a")), joining.WordsOf([]byte("b")); a == b || strings.Count(a, "-") != 3 {
		t.Errorf("%s, %s", a, b)
	}
}
