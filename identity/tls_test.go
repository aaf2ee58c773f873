package identity_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"dominion/identity"
	"dominion/topics"
)

func years(n int) time.Duration { return time.Duration(n) * 365 * 24 * time.Hour }

func at(year int) func() time.Time {
	return func() time.Time { return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC) }
}

func TestAMemberAndItsLeaderKnowEachOther(t *testing.T) {
	h, _ := create(t, "Home")
	m := admit(t, h, "attic", "machine-1")
	account, err := h.Certificate(shake(t, h.TLS(named("127.0.0.1")), memberTLS(t, m)).shown(t))
	if err != nil {
		t.Fatal(err)
	}
	want := topics.Identity{Role: topics.RoleNode, Name: "attic"}
	if account.Name != "node attic" || account.Who != want || account.Key == "" || !h.Stands(account) {
		t.Errorf("the leader takes the machine for %+v (stands: %v)", account, h.Stands(account))
	}
}

func TestNoClockKeepsAMachineOut(t *testing.T) {
	h, _ := create(t, "Home")
	m := admit(t, h, "attic", "machine-1")
	for _, leader := range []int{1970, 2026, 2060, 2200} {
		for _, node := range []int{1970, 2026, 2060, 2200} {
			server, client := h.TLS(named("127.0.0.1")), memberTLS(t, m)
			server.Time, client.Time = at(leader), at(node)
			if _, err := h.Certificate(shake(t, server, client).shown(t)); err != nil {
				t.Errorf("leader in %d, node in %d: %v", leader, node, err)
			}
		}
	}
}

func TestACertificateThatEndedStillLetsItsMachineIn(t *testing.T) {
	dir := t.TempDir() + "/identity"
	synctest.Test(t, func(t *testing.T) { // in 2000: a clock that was never set
		h, err := identity.Create(dir, "Home")
		if err != nil {
			t.Fatal(err)
		}
		m := admit(t, h, "attic", "machine-1")
		leaf := certificate(t, m.Certificate)
		if !leaf.NotAfter.After(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)) {
			t.Errorf("what a leader with a clock of %v issues ends at %v", time.Now(), leaf.NotAfter)
		}
		time.Sleep(years(70))
		if !time.Now().After(leaf.NotAfter) {
			t.Fatalf("the certificate has not ended at %v, but ends at %v", time.Now(), leaf.NotAfter)
		}
		account, err := h.Certificate(shake(t, h.TLS(named("127.0.0.1")), memberTLS(t, m)).shown(t))
		if err != nil || account.Who.Name != "attic" {
			t.Errorf("after 70 years: %+v, %v", account, err)
		}
		if _, err := h.Renew(leaf, request(t, m.Key, "attic")); err != nil {
			t.Errorf("renewed after 70 years: %v", err)
		}
	})
}

func TestToolsThatLookAtDatesAndNamesAcceptTheLeader(t *testing.T) {
	for _, wait := range []time.Duration{0, years(27), years(28), years(45)} { // from 2000 on
		dir := t.TempDir() + "/identity"
		synctest.Test(t, func(t *testing.T) {
			h, err := identity.Create(dir, "Home")
			if err != nil {
				t.Fatal(err)
			}
			server := h.TLS(named("192.168.1.7", "fd00::7", "pi1", "pi1.local"))
			shake(t, server, &tls.Config{InsecureSkipVerify: true}) // a first certificate, by the clock as it is
			time.Sleep(wait)
			now := time.Now()
			if floor := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC); now.Before(floor) {
				now = floor // the tool's clock is right, the leader's not
			}
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(h.AuthorityPEM())
			for _, name := range []string{"192.168.1.7", "fd00::7", "pi1", "pi1.local"} {
				client := &tls.Config{RootCAs: roots, ServerName: name, Time: func() time.Time { return now }}
				if m := shake(t, server, client); m.clientErr != nil {
					t.Errorf("%s at %v: %v", name, now, m.clientErr)
				}
			}
		})
	}
}

func TestAClockThatWasAheadHarmsNobodyWhoLooks(t *testing.T) {
	dir := t.TempDir() + "/identity"
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(years(60)) // the leader believes in 2060
		h, err := identity.Create(dir, "Home")
		if err != nil {
			t.Fatal(err)
		}
		shake(t, h.TLS(named("pi1")), &tls.Config{InsecureSkipVerify: true})
	})
	// The clock is right now; the test runs in some year after 2025.
	h, err := identity.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(h.AuthorityPEM())
	if m := shake(t, h.TLS(named("pi1")), &tls.Config{RootCAs: roots, ServerName: "pi1"}); m.clientErr != nil {
		t.Error(m.clientErr)
	}
}

func TestTheLeadersCertificateFollowsItsNames(t *testing.T) {
	h, dir := create(t, "Home")
	now := []string{"pi1", "192.168.1.7"}
	server := h.TLS(func() []string { return now })
	look := func(server *tls.Config) *x509.Certificate {
		t.Helper()
		m := shake(t, server, &tls.Config{InsecureSkipVerify: true})
		if m.clientErr != nil {
			t.Fatal(m.clientErr)
		}
		return m.client.PeerCertificates[0]
	}
	first := look(server)
	now = []string{"192.168.1.7", "pi1", "pi1"} // the same, said otherwise
	if again := look(server); !again.Equal(first) {
		t.Error("another certificate for the same names")
	}
	reopened, err := identity.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again := look(reopened.TLS(named("pi1", "192.168.1.7"))); !again.Equal(first) {
		t.Error("another certificate after a restart")
	}
	now = []string{"pi1", "10.0.0.9", "fe80::1%eth0", "", "no host", "ä", strings.Repeat("x", 300)}
	moved := look(server)
	for _, name := range []string{"pi1", "10.0.0.9", "fe80::1"} {
		if err := moved.VerifyHostname(name); err != nil {
			t.Errorf("after the leader moved: %v", err)
		}
	}
	if moved.VerifyHostname("192.168.1.7") == nil {
		t.Error("an address that the leader no longer has stands in its new certificate")
	}
}

func TestTheLeadersCertificateIsMadeAnewInTime(t *testing.T) {
	dir := t.TempDir() + "/identity"
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(years(30))
		h, err := identity.Create(dir, "Home")
		if err != nil {
			t.Fatal(err)
		}
		server := h.TLS(named("pi1"))
		var last *x509.Certificate
		for range 60 { // two months each
			leaf := shake(t, server, &tls.Config{InsecureSkipVerify: true}).client.PeerCertificates[0]
			if left, life := time.Until(leaf.NotAfter), leaf.NotAfter.Sub(leaf.NotBefore); left < life/3 {
				t.Fatalf("%v of %v are left", left, life)
			}
			if last != nil && !leaf.Equal(last) && time.Until(last.NotAfter) > last.NotAfter.Sub(last.NotBefore)/3 {
				t.Fatal("made anew before it was time")
			}
			last = leaf
			time.Sleep(60 * 24 * time.Hour)
		}
	})
}

func TestAForeignLeaderIsRefusedByBothFingerprints(t *testing.T) {
	ours, _ := create(t, "Home")
	theirs, _ := create(t, "Home") // the same name
	m := admit(t, ours, "attic", "machine-1")
	got := shake(t, theirs.TLS(named("127.0.0.1")), memberTLS(t, m))
	var foreign *identity.ForeignLeader
	if !errors.As(got.clientErr, &foreign) {
		t.Fatalf("a foreign leader: %v", got.clientErr)
	}
	if foreign.Want != ours.Fingerprint() || foreign.Got != theirs.Fingerprint() {
		t.Errorf("want %s, got %s; said %+v", ours.Fingerprint(), theirs.Fingerprint(), foreign)
	}
	for _, print := range []string{ours.Fingerprint(), theirs.Fingerprint()} {
		if !strings.Contains(foreign.Error(), print) {
			t.Errorf("%q does not name %s", foreign, print)
		}
	}
	if len(got.server.PeerCertificates) != 0 {
		t.Error("the machine showed its certificate to a foreign leader")
	}
}

func TestNoMachinePosesAsTheLeader(t *testing.T) {
	h, _ := create(t, "Home")
	thief, victim := admit(t, h, "attic", "machine-1"), admit(t, h, "cellar", "machine-2")
	own, err := tls.X509KeyPair(thief.Certificate, thief.Key)
	if err != nil {
		t.Fatal(err)
	}
	if m := shake(t, &tls.Config{Certificates: []tls.Certificate{own}}, memberTLS(t, victim)); m.clientErr == nil {
		t.Error("a machine was taken for the leader")
	}
	// Nor with the authority's certificate, whose key it does not have.
	own.Certificate = append(own.Certificate, certificate(t, h.AuthorityPEM()).Raw)
	if m := shake(t, &tls.Config{Certificates: []tls.Certificate{own}}, memberTLS(t, victim)); m.clientErr == nil {
		t.Error("a machine was taken for the leader, with the authority beside it")
	}
}

func TestTheLeaderCannotPoseAsAMachine(t *testing.T) {
	h, _ := create(t, "Home")
	admit(t, h, "attic", "machine-1")
	leader := shake(t, h.TLS(named("attic")), &tls.Config{InsecureSkipVerify: true}).client.PeerCertificates[0]
	for _, c := range []*x509.Certificate{leader, certificate(t, h.AuthorityPEM())} {
		if account, err := h.Certificate(c); err == nil {
			t.Errorf("%s was taken for %s", c.Subject.CommonName, account.Name)
		}
	}
}

func TestACertificateForServingIsNoMachines(t *testing.T) {
	h, dir := create(t, "Home")
	m := admit(t, h, "attic", "machine-1")
	authority, err := tls.LoadX509KeyPair(filepath.Join(dir, "authority.crt"), filepath.Join(dir, "authority.key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		usage x509.ExtKeyUsage
		taken bool
	}{{x509.ExtKeyUsageClientAuth, true}, {x509.ExtKeyUsageServerAuth, false}} {
		template := *certificate(t, m.Certificate) // its name, its key, our authority
		template.ExtKeyUsage = []x509.ExtKeyUsage{tt.usage}
		raw, err := x509.CreateCertificate(rand.Reader, &template, authority.Leaf, template.PublicKey, authority.PrivateKey)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(raw)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Certificate(leaf); (err == nil) != tt.taken {
			t.Errorf("usage %v: %v", tt.usage, err)
		}
	}
}

func TestAForgottenMachineDoesNotComeInByATicket(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		h, _ := create(t, "Home")
		m := admit(t, h, "attic", "machine-1")
		server, client := h.TLS(named("pi1")), memberTLS(t, m)
		client.ClientSessionCache, client.ServerName, client.MaxVersion = tls.NewLRUClientSessionCache(4), "pi1", version
		if _, err := h.Certificate(shake(t, server, client).shown(t)); err != nil {
			t.Fatal(err)
		}
		second := shake(t, server, client)
		if !second.server.DidResume {
			t.Fatalf("%s: the session was not resumed: this test looks at nothing", tls.VersionName(version))
		}
		account, err := h.Certificate(second.shown(t))
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Forget("attic"); err != nil {
			t.Fatal(err)
		}
		third := shake(t, server, client)
		if !third.server.DidResume {
			t.Fatalf("%s: the session was not resumed: this test looks at nothing", tls.VersionName(version))
		}
		if account, err := h.Certificate(third.shown(t)); err == nil {
			t.Errorf("%s: a forgotten machine is %+v", tls.VersionName(version), account)
		}
		if h.Stands(account) {
			t.Errorf("%s: the account of a forgotten machine stands", tls.VersionName(version))
		}
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	h, _ := create(t, "Home")
	m := shake(t, h.TLS(named("pi1")), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
	if m.clientErr == nil {
		t.Errorf("connected by %s", tls.VersionName(m.client.Version))
	}
	member := admit(t, h, "attic", "machine-1")
	if least := memberTLS(t, member).MinVersion; least < tls.VersionTLS12 {
		t.Errorf("a member accepts %s", tls.VersionName(least))
	}
}
