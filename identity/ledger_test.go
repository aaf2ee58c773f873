package identity_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"dominion/identity"
	"dominion/topics"
)

func TestTheLedgerOutlivesTheLeader(t *testing.T) {
	h, dir := create(t, "Home")
	m := admit(t, h, "attic", "machine-1")
	again, err := identity.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	account, err := again.Certificate(certificate(t, m.Certificate))
	if err != nil || !h.Stands(account) {
		t.Errorf("after a restart: %+v, %v", account, err)
	}
	nodes := again.Nodes()
	if len(nodes) != 1 || nodes[0].Name != "attic" || nodes[0].ID != "machine-1" || nodes[0].Joined.IsZero() || !nodes[0].Renews.After(nodes[0].Joined) || len(nodes[0].Fingerprint) != 19 {
		t.Errorf("nodes: %+v", nodes)
	}
}

func TestAMachineThatJoinsAgainEndsItsFormerKey(t *testing.T) {
	h, _ := create(t, "Home")
	before := admit(t, h, "attic", "machine-1")
	old, err := h.Certificate(certificate(t, before.Certificate))
	if err != nil {
		t.Fatal(err)
	}
	after := admit(t, h, "attic", "machine-1")
	if _, err := h.Certificate(certificate(t, before.Certificate)); err == nil || !strings.Contains(err.Error(), "attic") {
		t.Errorf("its former certificate: %v", err)
	}
	if h.Stands(old) {
		t.Error("its former account stands")
	}
	if _, err := h.Certificate(certificate(t, after.Certificate)); err != nil {
		t.Error(err)
	}
	if _, err := h.Password(identity.ServiceLogin("attic", after.Secret, "lamp")); err != nil {
		t.Error(err)
	}
}

func TestANameIsOneMachines(t *testing.T) {
	h, _ := create(t, "Home")
	m := admit(t, h, "attic", "machine-1")
	_, err := h.Admit("attic", "machine-2", request(t, m.Key, "attic"))
	var taken *identity.NameTaken
	if !errors.As(err, &taken) || taken.Node != "attic" || taken.ID != "machine-1" {
		t.Fatalf("another machine: %v", err)
	}
	if _, err := h.Certificate(certificate(t, m.Certificate)); err != nil {
		t.Errorf("the first machine: %v", err)
	}
	if err := h.Forget("attic"); err != nil {
		t.Fatal(err)
	}
	admit(t, h, "attic", "machine-2")
}

func TestWhatIsForgottenIsOut(t *testing.T) {
	h, _ := create(t, "Home")
	m := admit(t, h, "attic", "machine-1")
	account, err := h.Certificate(certificate(t, m.Certificate))
	if err != nil {
		t.Fatal(err)
	}
	login, err := h.Password(identity.NodeLogin("attic", m.Secret))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // again without harm
		if err := h.Forget("attic"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.Certificate(certificate(t, m.Certificate)); err == nil || !strings.Contains(err.Error(), "forgotten") {
		t.Errorf("its certificate: %v", err)
	}
	if _, err := h.Password(identity.NodeLogin("attic", m.Secret)); err == nil {
		t.Error("its login is accepted")
	}
	if _, err := h.Renew(certificate(t, m.Certificate), request(t, m.Key, "attic")); err == nil {
		t.Error("it could renew its certificate")
	}
	if h.Stands(account) || h.Stands(login) {
		t.Error("its accounts stand")
	}
	if len(h.Nodes()) != 0 {
		t.Errorf("nodes: %v", h.Nodes())
	}
}

func TestRenewalKeepsWhatWasAgreed(t *testing.T) {
	h, _ := create(t, "Home")
	m := admit(t, h, "attic", "machine-1")
	renewed, err := h.Renew(certificate(t, m.Certificate), request(t, m.Key, "attic"))
	if err != nil {
		t.Fatal(err)
	}
	// With the same key both are good: an answer that was lost locks nobody out.
	for _, pem := range [][]byte{m.Certificate, renewed} {
		if _, err := h.Certificate(certificate(t, pem)); err != nil {
			t.Error(err)
		}
	}
	if _, err := h.Password(identity.NodeLogin("attic", m.Secret)); err != nil {
		t.Errorf("its login: %v", err)
	}
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Renew(certificate(t, renewed), request(t, key, "cellar")); err == nil {
		t.Error("attic got a certificate for cellar")
	}
	newest, err := h.Renew(certificate(t, renewed), request(t, key, "attic"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Certificate(certificate(t, newest)); err != nil {
		t.Error(err)
	}
	if _, err := h.Certificate(certificate(t, renewed)); err == nil {
		t.Error("the former key is accepted")
	}
}

func TestACertificateOfAnotherHouseIsNamed(t *testing.T) {
	ours, _ := create(t, "Home")
	theirs, _ := create(t, "Home")
	admit(t, ours, "attic", "machine-1")
	foreigner := admit(t, theirs, "attic", "machine-1")
	_, err := ours.Certificate(certificate(t, foreigner.Certificate))
	if err == nil || !strings.Contains(err.Error(), ours.Fingerprint()) || !strings.Contains(err.Error(), theirs.Fingerprint()) {
		t.Errorf("it says %v; the houses are %s and %s", err, ours.Fingerprint(), theirs.Fingerprint())
	}
}

func TestRequestsThatAreNoneAreRefused(t *testing.T) {
	h, _ := create(t, "Home")
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	good := request(t, key, "attic")
	spoilt := []byte(strings.Replace(string(good), "MI", "MJ", 1))
	tests := []struct {
		name string
		node topics.Node
		id   topics.MachineID
		csr  []byte
	}{
		{"nothing", "attic", "machine-1", nil},
		{"nonsense", "attic", "machine-1", []byte("nonsense")},
		{"a spoilt request", "attic", "machine-1", spoilt},
		{"a key", "attic", "machine-1", key},
		{"another name", "cellar", "machine-1", good},
		{"a reserved name", "coordinator", "machine-1", request(t, key, "coordinator")},
		{"a name with a dot", "attic.lamp", "machine-1", request(t, key, "attic.lamp")},
		{"a name with a slash", "attic/state", "machine-1", request(t, key, "attic/state")},
		{"a wildcard", "+", "machine-1", request(t, key, "+")},
		{"no machine", "attic", "", good},
	}
	for _, tt := range tests {
		if _, err := h.Admit(tt.node, tt.id, tt.csr); err == nil {
			t.Errorf("%s was admitted", tt.name)
		}
	}
	if len(h.Nodes()) != 0 {
		t.Errorf("nodes: %v", h.Nodes())
	}
}

func TestTheCommandLineAndTheLeaderChangeTheSameFiles(t *testing.T) {
	leader, dir := create(t, "Home")
	const each = 12
	var group sync.WaitGroup
	for side := range 3 {
		h, err := identity.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		group.Go(func() {
			for i := range each {
				node := topics.Node(fmt.Sprintf("node-%d-%d", side, i))
				key, err := identity.NewKey()
				if err != nil {
					t.Error(err)
					return
				}
				csr, err := identity.Request(key, node)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := h.Admit(node, topics.MachineID(node), csr); err != nil {
					t.Error(err)
				}
				leader.Nodes()
			}
		})
	}
	group.Wait()
	if got := len(leader.Nodes()); got != 3*each {
		t.Errorf("%d of %d nodes are in the ledger", got, 3*each)
	}
}

func TestALeaderThatRunsSeesWhatTheCommandLineDid(t *testing.T) {
	leader, dir := create(t, "Home")
	shell, err := identity.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 { // quick changes of the same length
		password := fmt.Sprintf("correct horse %02d", i)
		if err := shell.SetUser("ann", topics.RoleOperator, password); err != nil {
			t.Fatal(err)
		}
		account, err := leader.Password("ann", password)
		if err != nil {
			t.Fatalf("change %d: %v", i, err)
		}
		if i%10 == 9 {
			if err := shell.RemoveUser("ann"); err != nil {
				t.Fatal(err)
			}
			if leader.Stands(account) {
				t.Fatalf("change %d: the account of a removed user stands", i)
			}
		}
	}
}

func TestAListThatIsDamagedWhileTheLeaderRunsEndsNobody(t *testing.T) {
	h, dir := create(t, "Home")
	m := admit(t, h, "attic", "machine-1")
	account, err := h.Certificate(certificate(t, m.Certificate))
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(dir, "ledger.json"))
	if err != nil || h.Trouble() != nil {
		t.Fatal(err, h.Trouble())
	}
	for _, content := range []string{"", "{", `{"nodes":{"attic":{}}}`} {
		if err := os.WriteFile(filepath.Join(dir, "ledger.json"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Certificate(certificate(t, m.Certificate)); err != nil {
			t.Errorf("with %q: %v", content, err)
		}
		if !h.Stands(account) {
			t.Errorf("with %q: the account does not stand", content)
		}
		if err := h.Forget("attic"); err == nil || !strings.Contains(err.Error(), "ledger.json") {
			t.Errorf("with %q it was changed: %v", content, err)
		}
		if err := h.Trouble(); err == nil || !strings.Contains(err.Error(), "ledger.json") {
			t.Errorf("with %q its trouble is %v", content, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "ledger.json"), whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := h.Forget("attic"); err != nil || h.Trouble() != nil || h.Stands(account) {
		t.Errorf("mended: forget %v, trouble %v, stands %v", err, h.Trouble(), h.Stands(account))
	}
}
