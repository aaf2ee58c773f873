package joining_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dominion/identity"
	"dominion/identity/joining"
	"dominion/topics"
)

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

func TestACodeBringsAMachineIn(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	o := machine(t, l, "pi2", l.invite(t))
	m, err := join(t, o)
	if err != nil {
		t.Fatal(err)
	}
	want := &identity.Membership{
		House: "7f3a9c", Name: "Birkenweg", Node: "pi2", Base: "dominion", Broker: "mqtts://127.0.0.1:8883", Door: l.address,
		Logins: identity.LoginsOwn, Authority: l.house.AuthorityPEM(), Key: o.Key, Certificate: m.Certificate, Secret: m.Secret,
	}
	if diff := cmp.Diff(want, m); diff != "" {
		t.Errorf("membership (-want +got):\n%s", diff)
	}
	if m.Secret == "" || m.Fingerprint() != l.house.Fingerprint() {
		t.Errorf("secret %q, fingerprint %q", m.Secret, m.Fingerprint())
	}
	if err := m.Save(t.TempDir()); err != nil {
		t.Error(err)
	}
	user, password := identity.NodeLogin("pi2", m.Secret)
	if account, err := l.house.Password(user, password); err != nil || account.Name != "node pi2" {
		t.Errorf("the leader knows the secret's login as %+v, %v", account, err)
	}
	if l.happenings(joining.Joined, "") != 1 {
		t.Errorf("told: %+v", l.told)
	}
	i := l.invitation(t, o.Code)
	if i.Node != "pi2" || i.Tries != 0 || i.State(time.Now()) != "used" {
		t.Errorf("the invitation: %+v", i)
	}
}

func TestACodeServesOneMachineOnly(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	first := machine(t, l, "pi2", l.invite(t))
	if _, err := join(t, first); err != nil {
		t.Fatal(err)
	}

	again, err := join(t, first) // its disk was full, or the answer was lost
	if err != nil {
		t.Fatalf("the same machine again: %v", err)
	}
	if user, password := identity.NodeLogin("pi2", again.Secret); !known(l.house, user, password) {
		t.Error("the second answer's secret is not the ledger's")
	}

	tests := map[string]joining.Options{
		"another machine":                     machine(t, l, "pi3", first.Code),
		"another key for the machine's id":    {Door: l.address, Code: first.Code, Node: first.Node, ID: first.ID},
		"another id for the machine's key":    {Door: l.address, Code: first.Code, Node: first.Node, ID: "other", Key: first.Key},
		"another name, when it is in already": {Door: l.address, Code: first.Code, Node: "pi9", ID: first.ID, Key: first.Key},
	}
	for name, o := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := join(t, o)
			wants(t, err, joining.Used)
			if err != nil && !strings.Contains(err.Error(), "used by pi2") {
				t.Errorf("the error does not say by whom: %v", err)
			}
			l.clock.add(2 * time.Minute) // so that the next is told
			same := strings.HasPrefix(name, "another key")
			if text := l.last().Text; strings.Contains(text, "was let in by this code already") != same {
				t.Errorf("told: %s", text)
			}
		})
	}
	if diff := cmp.Diff([]string{"pi2"}, l.nodes()); diff != "" {
		t.Error(diff)
	}
	if i := l.invitation(t, first.Code); i.Tries != 0 {
		t.Errorf("who has the code was charged %d tries", i.Tries)
	}
}

func TestACodeDoesNotBringBackWhoWasForgotten(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	o := machine(t, l, "pi2", l.invite(t))
	if _, err := join(t, o); err != nil {
		t.Fatal(err)
	}
	if err := l.house.Forget("pi2"); err != nil {
		t.Fatal(err)
	}
	_, err := join(t, o)
	wants(t, err, joining.Used)
	o.Code = l.invite(t)
	if _, err := join(t, o); err != nil {
		t.Errorf("with a new code: %v", err)
	}
}

// TestACodeDoesNotOutliveForgettingOnAFullDisk holds that a code does not bring
// a machine back because nothing could be written when it came in.
func TestACodeDoesNotOutliveForgettingOnAFullDisk(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	o := machine(t, l, "pi2", l.invite(t))
	lock := filepath.Join(l.dir, "invitations.lock")
	asked := 0
	l.change = func(*joining.Handout) {
		if asked++; asked == 3 { // at the admission, after hello and start
			if err := errors.Join(os.Remove(lock), os.Mkdir(lock, 0o700)); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := join(t, o); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(lock), l.house.Forget("pi2")); err != nil {
		t.Fatal(err)
	}
	_, err := join(t, o)
	wants(t, err, joining.Used)
	if nodes := l.nodes(); len(nodes) > 0 {
		t.Errorf("it is back: %v", nodes)
	}
}

func known(h *identity.House, user, password string) bool {
	_, err := h.Password(user, password)
	return err == nil
}

func TestSeveralCodesAreOpenAtATime(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	var machines []joining.Options
	for _, node := range []topics.Node{"pi2", "pi3", "pi4", "pi5", "pi6", "pi7", "pi8", "pi9"} {
		machines = append(machines, machine(t, l, node, l.invite(t)))
	}
	if _, err := joining.Invite(l.dir, 0); err == nil || !strings.Contains(err.Error(), "8 codes are open") {
		t.Errorf("a ninth code: %v", err)
	}
	var wg sync.WaitGroup
	for _, o := range machines {
		wg.Go(func() {
			if m, err := joining.Join(t.Context(), o); err != nil || m.Node != o.Node {
				t.Errorf("%s: %v", o.Node, err)
			}
		})
	}
	wg.Wait()
	for _, o := range machines {
		if i := l.invitation(t, o.Code); i.Node != o.Node || i.Tries != 0 {
			t.Errorf("%s's invitation: %+v", o.Node, i)
		}
	}
}

// TestUsedCodesMakeRoom holds that a house of many machines is set up in one
// go, and that who used a code last can still repeat it.
func TestUsedCodesMakeRoom(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	early := machine(t, l, "early", l.invite(t)) // made first, used last
	for n := range 40 {
		o := machine(t, l, topics.Node(fmt.Sprintf("pi%d", n)), l.invite(t))
		if _, err := join(t, o); err != nil {
			t.Fatalf("machine %d: %v", n, err)
		}
		l.clock.add(10 * time.Second)
	}
	for range joining.MaxInvitations - 1 {
		l.invite(t)
	}
	if _, err := joining.Invite(l.dir, 0); err == nil || !strings.Contains(err.Error(), "8 codes are open") {
		t.Errorf("a ninth open code: %v", err)
	}
	all, err := joining.Invitations(l.dir)
	if err != nil || len(all) != 32+joining.MaxInvitations {
		t.Errorf("%d codes are kept, %v", len(all), err)
	}
	for _, try := range []string{"first", "second"} {
		if _, err := join(t, early); err != nil {
			t.Errorf("the %s time: %v", try, err)
		}
	}
}

func TestFiveWrongTriesVoidTheCode(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	right := machine(t, l, "pi2", l.invite(t))
	for try := 1; try <= joining.MaxTries; try++ {
		_, err := join(t, machine(t, l, "pi2", joining.NewCode()))
		wants(t, err, joining.WrongCode)
		if i := l.invitation(t, right.Code); i.Tries != try {
			t.Fatalf("after %d wrong tries: %+v", try, i)
		}
	}
	if h := l.last(); h.Next != "dominion invite" || h.Why != joining.WrongCode || h.Remote != "127.0.0.1" || h.Node != "pi2" {
		t.Errorf("the last was told as %+v", h)
	}
	_, err := join(t, right)
	wants(t, err, joining.NoInvitation)
	if state := l.invitation(t, right.Code).State(time.Now()); state != "void" {
		t.Errorf("the code is %s", state)
	}
	if nodes := l.nodes(); len(nodes) > 0 {
		t.Errorf("admitted: %v", nodes)
	}
}

func TestAWrongTryCountsForAllOpenCodes(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	codes := []joining.Code{l.invite(t), l.invite(t), l.invite(t)}
	_, err := join(t, machine(t, l, "pi2", joining.NewCode()))
	wants(t, err, joining.WrongCode)
	for _, code := range codes {
		if i := l.invitation(t, code); i.Tries != 1 {
			t.Errorf("%+v", i)
		}
	}
}

// TestAShareHoldsOneGuess holds why a message that proves a code charges nobody:
// who has one code, used or not, cannot guess at another beside it. Even a guess
// that is right does not show when the share is another code's.
func TestAShareHoldsOneGuess(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	codes := []joining.Code{l.invite(t), l.invite(t)}
	o := machine(t, l, "pi2", "")
	sid, scalar := make([]byte, 16), append(make([]byte, 31), 1)
	for sentFor := range codes {
		var shares [][]byte
		var prove []func([]byte, string, int, []byte) []byte
		for _, code := range codes {
			share, proof, err := joining.Guess(scalar, code, o, "7f3a9c", "Birkenweg", sid)
			if err != nil {
				t.Fatal(err)
			}
			shares, prove = append(shares, share), append(prove, proof)
		}
		sent := shares[sentFor]
		var start struct {
			Session string
			Shares  [][]byte
		}
		answer(t, l, "/join/start", message{"v": 1, "sid": sid, "node": o.Node, "id": o.ID, "share": sent}, &start)
		var proofs [][]byte
		for i, theirs := range start.Shares {
			proofs = append(proofs, prove[i](sent, start.Session, i, theirs))
		}
		proven := struct{ Pick int }{-1}
		answer(t, l, "/join/prove", message{"v": 1, "session": start.Session, "proofs": proofs}, &proven)
		if proven.Pick != sentFor {
			t.Errorf("with a share for code %d, code %d is proven", sentFor, proven.Pick)
		}
	}
	for _, code := range codes {
		if i := l.invitation(t, code); i.Tries != 0 {
			t.Errorf("%+v", i)
		}
	}
}

// answer sends a message past the network, and reads what comes back.
func answer(t *testing.T, l *leader, path string, question message, into any) {
	t.Helper()
	body, err := json.Marshal(question)
	if err != nil {
		t.Fatal(err)
	}
	res := post(l.door, path, "192.168.1.9:5", string(body))
	if err := json.Unmarshal(res.Body.Bytes(), into); err != nil || res.Code != http.StatusOK {
		t.Fatalf("%s: %d %s", path, res.Code, res.Body)
	}
}

func TestAThousandGuesses(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	right := machine(t, l, "pi2", l.invite(t))
	counts := map[joining.Why]int{}
	for range 1000 {
		_, err := joining.Join(t.Context(), joining.Options{Door: l.address, Code: joining.NewCode(), Node: "guess", ID: "guess", Key: right.Key})
		var no *joining.Refusal
		if !errors.As(err, &no) {
			t.Fatal(err)
		}
		counts[no.Why]++
	}
	// The leader's clock stands: an address has ten tries.
	want := map[joining.Why]int{joining.WrongCode: joining.MaxTries, joining.NoInvitation: 10 - joining.MaxTries, joining.Busy: 990}
	if diff := cmp.Diff(want, counts); diff != "" {
		t.Errorf("refusals (-want +got):\n%s", diff)
	}
	// Of each kind one is told, and the guess that voids the code.
	for why, n := range map[joining.Why]int{joining.WrongCode: 2, joining.NoInvitation: 1, joining.Busy: 1} {
		if told := l.happenings(joining.Refused, why); told != n {
			t.Errorf("%d refusals %q were told, want %d", told, why, n)
		}
	}
	l.clock.add(10 * time.Second)
	_, err := join(t, right)
	wants(t, err, joining.NoInvitation)
	if nodes := l.nodes(); len(nodes) > 0 {
		t.Errorf("admitted: %v", nodes)
	}
}

func TestRefusedCodes(t *testing.T) {
	t.Run("expired", func(t *testing.T) {
		l := newLeader(t, "7f3a9c", "Birkenweg")
		o := machine(t, l, "pi2", l.invite(t))
		l.clock.add(joining.DefaultLife + time.Minute)
		_, err := join(t, o)
		wants(t, err, joining.NoInvitation)
	})
	t.Run("expired, while another is open", func(t *testing.T) {
		l := newLeader(t, "7f3a9c", "Birkenweg")
		o := machine(t, l, "pi2", l.invite(t))
		if _, err := joining.Invite(l.dir, time.Hour); err != nil {
			t.Fatal(err)
		}
		l.clock.add(joining.DefaultLife + time.Minute)
		_, err := join(t, o)
		wants(t, err, joining.WrongCode)
	})
	t.Run("made before the clock was set back", func(t *testing.T) {
		l := newLeader(t, "7f3a9c", "Birkenweg")
		o := machine(t, l, "pi2", l.invite(t))
		l.clock.add(-time.Hour)
		_, err := join(t, o)
		wants(t, err, joining.NoInvitation)
		if state := l.invitation(t, o.Code).State(l.clock.Now()); state != "unborn" {
			t.Errorf("the code is %s", state)
		}
	})
	t.Run("another house's", func(t *testing.T) {
		here, there := newLeader(t, "7f3a9c", "Birkenweg"), newLeader(t, "k2m4aa", "Birkenweg")
		here.invite(t)
		o := machine(t, here, "pi2", there.invite(t))
		_, err := join(t, o)
		wants(t, err, joining.WrongCode)
		for _, word := range []string{"another house's", "7f3a9c", here.address, "--leader", "dominion invite"} {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("the error does not say %q: %v", word, err)
			}
		}
	})
	t.Run("mistyped", func(t *testing.T) {
		l := newLeader(t, "7f3a9c", "Birkenweg")
		code := l.invite(t)
		wrong := "0"
		if code[0] == '0' {
			wrong = "1"
		}
		_, err := join(t, machine(t, l, "pi2", joining.Code(wrong)+code[1:]))
		if err == nil || !strings.Contains(err.Error(), "typing error") {
			t.Error(err)
		}
		if i := l.invitation(t, code); i.Tries != 0 {
			t.Errorf("a typing error cost a try: %+v", i)
		}
	})
}

func TestANameThatIsTaken(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	if _, err := join(t, machine(t, l, "pi2", l.invite(t))); err != nil {
		t.Fatal(err)
	}
	second := machine(t, l, "pi2", l.invite(t))
	second.ID = "another"
	_, err := join(t, second)
	var taken *identity.NameTaken
	if !errors.As(err, &taken) || *taken != (identity.NameTaken{Node: "pi2", ID: "machine-of-pi2"}) {
		t.Fatalf("got %v", err)
	}
	if h := l.last(); h.Why != joining.NameInUse || strings.Contains(h.Next, "forget") || !strings.Contains(h.Next, "--name OTHER") {
		t.Errorf("told: %+v", h)
	}
	second.Node = "pi3"
	if _, err := join(t, second); err != nil {
		t.Errorf("the same code under another name: %v", err)
	}
}

func TestAFullDiskAtTheLeader(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	o := machine(t, l, "pi2", l.invite(t))
	ledger, away := filepath.Join(l.dir, "identity"), filepath.Join(l.dir, "away")
	if err := os.Rename(ledger, away); err != nil { // as root, permissions stop nobody
		t.Fatal(err)
	}
	_, err := join(t, o)
	wants(t, err, joining.LeaderDisk)
	if l.happenings(joining.Refused, joining.LeaderDisk) != 1 {
		t.Errorf("told: %+v", l.told)
	}
	if err := os.Rename(away, ledger); err != nil {
		t.Fatal(err)
	}
	if _, err := join(t, o); err != nil {
		t.Errorf("again, with room on the disk: %v", err)
	}
}

func TestAGuessIsNotLookedAtWhenItCannotBeCharged(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	o := machine(t, l, "pi2", l.invite(t))
	away := l.dir + "-away"
	o.Door = between(t, l, func(path string, question bool, _ message) {
		if path == "/join/prove" && question {
			if err := os.Rename(l.dir, away); err != nil {
				t.Error(err)
			}
		}
	})
	_, err := join(t, o) // the right code
	wants(t, err, joining.LeaderDisk)
	if err := os.Rename(away, l.dir); err != nil {
		t.Fatal(err)
	}
}

func TestAKeyIsKeptUntilItIsDropped(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "domain")
	key, err := joining.KeepKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := joining.KeepKey(dir); err != nil || string(again) != string(key) {
		t.Errorf("the second time: another key, %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, "joining.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for range 2 {
		if err := joining.DropKey(dir); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "joining.key")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the key is still there: %v", err)
	}
	if other, err := joining.KeepKey(dir); err != nil || string(other) == string(key) {
		t.Errorf("after it was dropped: the same key, %v", err)
	}
}

func TestInvitationsAreKeptSecretAndForgotten(t *testing.T) {
	dir := t.TempDir()
	if all, err := joining.Invitations(dir); err != nil || len(all) > 0 {
		t.Errorf("without a file: %v, %v", all, err)
	}
	for _, lasts := range []time.Duration{-time.Second, joining.MaxLife + 1} {
		if _, err := joining.Invite(dir, lasts); err == nil {
			t.Errorf("a code for %v was made", lasts)
		}
	}
	var wg sync.WaitGroup
	for range joining.MaxInvitations {
		wg.Go(func() {
			if _, err := joining.Invite(dir, time.Minute); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	all, err := joining.Invitations(dir)
	if err != nil || len(all) != joining.MaxInvitations {
		t.Errorf("%d invitations, %v", len(all), err)
	}
	path := filepath.Join(dir, "invitations.json")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := os.WriteFile(path, []byte(`[{"code"`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := joining.Invite(dir, 0); err == nil || !strings.Contains(err.Error(), path+" is damaged") {
		t.Errorf("a damaged file: %v", err)
	}
}

func TestAnothersBrokerIsHandedOut(t *testing.T) {
	l := newLeader(t, "7f3a9c", "Birkenweg")
	l.change = func(h *joining.Handout) {
		h.Broker, h.Logins, h.Username, h.Password, h.Door = "mqtt://192.168.1.5:1883", identity.LoginsShared, "house", "secret", ""
	}
	m, err := join(t, machine(t, l, "pi2", l.invite(t)))
	if err != nil {
		t.Fatal(err)
	}
	got := []string{m.Broker, m.Logins, m.Username, m.Password, m.Door}
	if diff := cmp.Diff([]string{"mqtt://192.168.1.5:1883", "shared", "house", "secret", l.address}, got); diff != "" {
		t.Error(diff)
	}
}

func TestPapersThatAreNotComplete(t *testing.T) {
	for name, change := range map[string]func(*joining.Handout){
		"no broker":      func(h *joining.Handout) { h.Broker = "" },
		"no base":        func(h *joining.Handout) { h.Base = "" },
		"no base at all": func(h *joining.Handout) { h.Base = "a/#" },
		"unknown logins": func(h *joining.Handout) { h.Logins = "" },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLeader(t, "7f3a9c", "Birkenweg")
			l.change = change
			var broken *joining.BrokenAnswer
			if _, err := join(t, machine(t, l, "pi2", l.invite(t))); !errors.As(err, &broken) {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("another house's", func(t *testing.T) {
		l := newLeader(t, "7f3a9c", "Birkenweg")
		asked := 0
		l.change = func(h *joining.Handout) {
			if asked++; asked == 3 { // after hello and start
				h.House = "k2m4aa"
			}
		}
		var broken *joining.BrokenAnswer
		if _, err := join(t, machine(t, l, "pi2", l.invite(t))); !errors.As(err, &broken) || !strings.Contains(err.Error(), "papers of another house") {
			t.Errorf("got %v", err)
		}
	})
}

// A run between two parties that do not think the same of who they are is a
// wrong code, whatever else is checked later.
func TestWhoTheyAreIsPartOfTheRun(t *testing.T) {
	for name, alter := range map[string]func(path string, question bool, m message){
		"the machine's name": func(path string, question bool, m message) {
			if path == "/join/start" && question {
				m["node"] = "pi3"
			}
		},
		"the machine's id": func(path string, question bool, m message) {
			if path == "/join/start" && question {
				m["id"] = "other"
			}
		},
		"the house": func(path string, question bool, m message) {
			if path == "/join/hello" && !question {
				m["house"] = "k2m4aa"
			}
		},
		"the house's name": func(path string, question bool, m message) {
			if path == "/join/hello" && !question {
				m["name"] = "Eichenweg"
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLeader(t, "7f3a9c", "Birkenweg")
			o := machine(t, l, "pi2", l.invite(t))
			o.Door = between(t, l, alter)
			_, err := join(t, o)
			wants(t, err, joining.WrongCode)
			if i := l.invitation(t, o.Code); i.Tries != 1 {
				t.Errorf("it cost %d tries", i.Tries)
			}
		})
	}
}
