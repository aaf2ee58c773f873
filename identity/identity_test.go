package identity_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dominion/identity"
	"dominion/topics"
)

func create(t *testing.T, name string) (*identity.House, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "identity")
	h, err := identity.Create(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	return h, dir
}

// admit lets a machine in and returns what it keeps.
func admit(t *testing.T, h *identity.House, node topics.Node, id topics.MachineID) *identity.Membership {
	t.Helper()
	key, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := identity.Request(key, node)
	if err != nil {
		t.Fatal(err)
	}
	a, err := h.Admit(node, id, csr)
	if err != nil {
		t.Fatal(err)
	}
	return &identity.Membership{House: "h1", Node: node, Secret: a.Secret, Authority: a.Authority, Certificate: a.Certificate, Key: key}
}

// meet lets a client connect to a server, and returns the certificate that the
// server saw.
func meet(t *testing.T, server, client *tls.Config) (*x509.Certificate, error) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	seen := make(chan *x509.Certificate, 1)
	go func() {
		defer close(seen)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if conn.(*tls.Conn).Handshake() != nil {
			return
		}
		if certs := conn.(*tls.Conn).ConnectionState().PeerCertificates; len(certs) > 0 {
			seen <- certs[0]
		}
		conn.Write([]byte("!"))
	}()
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", l.Addr().String(), client)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		return nil, err
	}
	return <-seen, nil
}

func names() []string { return []string{"127.0.0.1", "pi1.local"} }

func TestAHouseIsMadeOnceAndNeverOverwritten(t *testing.T) {
	h, dir := create(t, "home")
	if _, err := identity.Create(dir, "other"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second Create: %v", err)
	}
	again, err := identity.Open(dir)
	if err != nil || again.Fingerprint() != h.Fingerprint() || again.Name() != "home" {
		t.Errorf("opened again: %v", err)
	}
	if _, err := identity.Open(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty directory: %v", err)
	}
	for _, name := range []string{"authority.key", "authority.crt"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v", name, info.Mode(), err)
		}
	}
}

func TestWhatAFailedCreateLeftIsNoHouse(t *testing.T) {
	_, whole := create(t, "home")
	half, err := os.ReadFile(filepath.Join(whole, "authority.key"))
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "identity")
	left := dir + ".new-123" // the power failed here
	if err := os.Mkdir(left, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(left, "authority.key"), half, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := identity.Open(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half a house: %v", err)
	}
	if _, err := identity.Create(dir, "home"); err != nil {
		t.Errorf("tried again: %v", err)
	}
}

func TestDamagedFilesAreNamedAndKept(t *testing.T) {
	for _, name := range []string{"authority.crt", "authority.key", "ledger.json", "users.json"} {
		_, dir := create(t, "home")
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("{ rubbish"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := identity.Open(dir); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
		if got, _ := os.ReadFile(path); string(got) != "{ rubbish" {
			t.Errorf("%s was changed", name)
		}
	}
}

func TestAMachineIsKnownByItsKeyWhateverTheClocksSay(t *testing.T) {
	h, _ := create(t, "home")
	m := admit(t, h, "attic", "machine1")
	for _, year := range []int{1970, 2026, 2090} {
		clock := func() time.Time { return time.Date(year, 1, 2, 0, 0, 0, 0, time.UTC) }
		server, client := h.TLS(names), memberTLS(t, m)
		server.Time, client.Time = clock, clock
		leaf, err := meet(t, server, client)
		if err != nil {
			t.Fatalf("%d: %v", year, err)
		}
		account, err := h.Certificate(leaf)
		if err != nil || account.Name != "node attic" || account.Who != (topics.Identity{Role: topics.RoleNode, Name: "attic"}) {
			t.Errorf("%d: %+v, %v", year, account, err)
		}
		if !h.Stands(account) {
			t.Errorf("%d: it does not stand", year)
		}
	}
}

func memberTLS(t *testing.T, m *identity.Membership) *tls.Config {
	t.Helper()
	c, err := m.TLS()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestALeaderOfAnotherHouseIsRefusedByName(t *testing.T) {
	h, _ := create(t, "home")
	other, _ := create(t, "home") // the same name
	m := admit(t, h, "attic", "machine1")
	_, err := meet(t, other.TLS(names), memberTLS(t, m))
	var foreign *identity.ForeignLeader
	if !errors.As(err, &foreign) || foreign.Want != h.Fingerprint() || foreign.Got != other.Fingerprint() {
		t.Errorf("%v (ours %s, theirs %s)", err, h.Fingerprint(), other.Fingerprint())
	}
	leaf := certificate(t, m.Certificate)
	if _, err := other.Certificate(leaf); err == nil || !strings.Contains(err.Error(), "not issued by this house") {
		t.Errorf("the other house: %v", err)
	}
}

func TestAMachineCannotPoseAsTheLeader(t *testing.T) {
	h, _ := create(t, "home")
	m, thief := admit(t, h, "attic", "machine1"), admit(t, h, "cellar", "machine2")
	own, err := tls.X509KeyPair(thief.Certificate, thief.Key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := meet(t, &tls.Config{Certificates: []tls.Certificate{own}}, memberTLS(t, m)); err == nil || !strings.Contains(err.Error(), "not the leader's") {
		t.Errorf("a machine of the house as leader: %v", err)
	}
}

func TestForgettingEndsCertificateAndLogins(t *testing.T) {
	h, dir := create(t, "home")
	m := admit(t, h, "attic", "machine1")
	leaf := certificate(t, m.Certificate)
	node, err := h.Certificate(leaf)
	if err != nil {
		t.Fatal(err)
	}
	user, password := identity.ServiceLogin("attic", m.Secret, "lamp")
	service, err := h.Password(user, password)
	if err != nil || service.Who != (topics.Identity{Role: topics.RoleService, Name: "lamp"}) {
		t.Fatalf("the service's login: %+v, %v", service, err)
	}
	commandLine, err := identity.Open(dir) // another process
	if err != nil {
		t.Fatal(err)
	}
	if err := commandLine.Forget("attic"); err != nil {
		t.Fatal(err)
	}
	if h.Stands(node) || h.Stands(service) {
		t.Error("the accounts of a forgotten node stand")
	}
	if _, err := h.Certificate(leaf); err == nil || !strings.Contains(err.Error(), "forgotten") {
		t.Errorf("its certificate: %v", err)
	}
	if _, err := h.Password(user, password); err == nil {
		t.Error("its service's login is good")
	}
	if err := h.Forget("attic"); err != nil {
		t.Errorf("forgotten twice: %v", err)
	}
	admit(t, h, "attic", "machine9")
}

func TestANameBelongsToOneMachine(t *testing.T) {
	h, _ := create(t, "home")
	first := admit(t, h, "attic", "machine1")
	key, _ := identity.NewKey()
	for _, name := range []topics.Node{"attic", "Attic"} {
		csr, _ := identity.Request(key, name)
		var taken *identity.NameTaken
		if _, err := h.Admit(name, "machine2", csr); !errors.As(err, &taken) || taken.ID != "machine1" {
			t.Errorf("%s: %v", name, err)
		}
	}
	second := admit(t, h, "attic", "machine1") // the same machine, set up anew
	if _, err := h.Certificate(certificate(t, first.Certificate)); err == nil {
		t.Error("the key of before counts")
	}
	if _, err := h.Certificate(certificate(t, second.Certificate)); err != nil {
		t.Error(err)
	}
	for _, name := range []topics.Node{"coordinator", "reader", "service", "all", "a b"} {
		csr, _ := identity.Request(key, name)
		if _, err := h.Admit(name, "machine3", csr); err == nil {
			t.Errorf("%q was admitted", name)
		}
	}
}

func TestARequestMustBeSignedWithItsKeyAndForItsName(t *testing.T) {
	h, _ := create(t, "home")
	key, _ := identity.NewKey()
	csr, _ := identity.Request(key, "attic")
	if _, err := h.Admit("cellar", "machine1", csr); err == nil {
		t.Error("a request for another name")
	}
	block, _ := pem.Decode(csr)
	for i := range block.Bytes {
		bent := append([]byte(nil), block.Bytes...)
		bent[i] ^= 1
		if a, err := h.Admit("attic", "machine1", pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: bent})); err == nil {
			if c := certificate(t, a.Certificate); c.Subject.CommonName != "attic" {
				t.Fatalf("byte %d bent: admitted as %q", i, c.Subject.CommonName)
			}
			t.Errorf("byte %d bent: admitted", i)
		}
	}
}

func TestRenewing(t *testing.T) {
	h, _ := create(t, "home")
	m := admit(t, h, "attic", "machine1")
	leaf := certificate(t, m.Certificate)
	csr, _ := identity.Request(m.Key, "attic")
	renewed, err := h.Renew(leaf, csr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Certificate(certificate(t, renewed)); err != nil {
		t.Error(err)
	}
	account, _ := h.Certificate(leaf)
	if !h.Stands(account) {
		t.Error("renewed with its own key, its connections were ended")
	}
	if m.Ages(time.Now()) || !m.Ages(time.Now().AddDate(2, 6, 0)) {
		t.Error("it is renewed at the wrong time")
	}
	if err := h.Forget("attic"); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Renew(leaf, csr); err == nil {
		t.Error("a forgotten node was renewed")
	}
}

func TestTheLeadersCertificateIsRightForThoseWhoLook(t *testing.T) {
	h, dir := create(t, "home")
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(h.AuthorityPEM())
	for _, name := range []string{"127.0.0.1", "pi1.local"} {
		if _, err := meet(t, h.TLS(names), &tls.Config{RootCAs: roots, ServerName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	changed := func() []string { return []string{"10.0.0.9", "not a name!"} }
	if _, err := meet(t, h.TLS(changed), &tls.Config{RootCAs: roots, ServerName: "10.0.0.9"}); err != nil {
		t.Errorf("after the address changed: %v", err)
	}
	again, err := identity.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	first, second := serial(t, h, changed), serial(t, again, changed)
	if first != second {
		t.Error("a restart of the leader made another certificate")
	}
}

func serial(t *testing.T, h *identity.House, names func() []string) string {
	t.Helper()
	c, err := h.TLS(names).GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf.SerialNumber.String()
}

func TestUsers(t *testing.T) {
	h, dir := create(t, "home")
	if err := h.SetUser("ann", topics.RoleOperator, "correct horse"); err != nil {
		t.Fatal(err)
	}
	if err := h.SetUser("plug1", topics.RoleNode, "battery staple"); err != nil {
		t.Fatal(err)
	}
	ann, err := h.Password("ann", "correct horse")
	if err != nil || ann.Name != "user ann" || ann.Who != (topics.Identity{Role: topics.RoleOperator, Name: "ann"}) {
		t.Errorf("ann: %+v, %v", ann, err)
	}
	if plug, err := h.Password("plug1", "battery staple"); err != nil || plug.Who.Name != "plug1" {
		t.Errorf("plug1: %+v, %v", plug, err)
	}
	_, wrong := h.Password("ann", "Correct horse")
	_, nobody := h.Password("bob", "correct horse")
	if wrong == nil || nobody == nil || wrong.Error() != nobody.Error() {
		t.Errorf("wrong password %v, wrong user %v", wrong, nobody)
	}
	commandLine, err := identity.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := commandLine.SetUser("ann", topics.RoleOperator, "another one"); err != nil {
		t.Fatal(err)
	}
	if h.Stands(ann) {
		t.Error("the old password's connections stand")
	}
	if _, err := h.Password("ann", "correct horse"); err == nil {
		t.Error("the old password is good, from the cache")
	}
	if err := commandLine.RemoveUser("ann"); err != nil {
		t.Fatal(err)
	}
	if err := h.RemoveUser("ann"); !errors.Is(err, identity.ErrNoUser) {
		t.Errorf("removed twice: %v", err)
	}
	for _, bad := range []struct {
		name, password string
		role           topics.Role
	}{
		{"a.b", "long enough", topics.RoleViewer}, {"ann", "short", topics.RoleViewer}, {"ann", "long enough", "king"},
		{"ann", "long enough", topics.RoleCoordinator}, {"coordinator", "long enough", topics.RoleNode}, {"PLUG1", "long enough", topics.RoleViewer},
	} {
		if err := h.SetUser(bad.name, bad.role, bad.password); err == nil {
			t.Errorf("%+v was taken", bad)
		}
	}
	admit(t, h, "attic", "machine1")
	if err := h.SetUser("attic", topics.RoleViewer, "long enough"); err == nil {
		t.Error("a user with a machine's name")
	}
}

func TestMosquittosPasswordFile(t *testing.T) {
	h, _ := create(t, "home")
	if err := h.SetUser("ann", topics.RoleOperator, "correct horse"); err != nil {
		t.Fatal(err)
	}
	admit(t, h, "attic", "machine1")
	lines, err := h.Mosquitto([]topics.Service{"lamp"})
	if err != nil {
		t.Fatal(err)
	}
	var users []string
	for _, l := range lines {
		users = append(users, l.User)
		if !strings.HasPrefix(l.Hash, "$7$") {
			t.Errorf("%s: %s", l.User, l.Hash)
		}
	}
	if got := strings.Join(users, " "); got != "ann attic attic.lamp" {
		t.Errorf("users %s", got)
	}
}

func TestMembershipIsKeptWhole(t *testing.T) {
	h, _ := create(t, "home")
	m := admit(t, h, "attic", "machine1")
	dir := filepath.Join(t.TempDir(), "domain")
	if _, err := identity.LoadMembership(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("none: %v", err)
	}
	if err := m.Save(dir); err != nil {
		t.Fatal(err)
	}
	got, err := identity.LoadMembership(dir)
	if err != nil || got.Secret != m.Secret || got.Fingerprint() != h.Fingerprint() {
		t.Errorf("%+v, %v", got, err)
	}
	if info, err := os.Stat(filepath.Join(dir, "membership.json")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	if err := identity.Leave(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := identity.LoadMembership(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after leaving: %v", err)
	}
}

func certificate(t *testing.T, text []byte) *x509.Certificate {
	t.Helper()
	block, _ := pem.Decode(text)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTwoProcessesChangeOneFile(t *testing.T) {
	_, dir := create(t, "home")
	ended := make(chan error)
	const each = 8
	for _, who := range []string{"a", "b"} {
		h, err := identity.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for i := range each {
				if err := h.SetUser(who+string(rune('a'+i)), topics.RoleViewer, "long enough"); err != nil {
					ended <- err
					return
				}
			}
			ended <- nil
		}()
	}
	for range 2 {
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	h, err := identity.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(h.Users()); n != 2*each {
		t.Errorf("%d users are left of %d", n, 2*each)
	}
}

func TestAMachineThatJoinsAgainKeepsItsServicesLogins(t *testing.T) {
	h, _ := create(t, "home")
	first := admit(t, h, "attic", "machine1")
	service, err := h.Password(identity.ServiceLogin("attic", first.Secret, "lamp"))
	if err != nil {
		t.Fatal(err)
	}
	if second := admit(t, h, "attic", "machine1"); second.Secret != first.Secret || !h.Stands(service) {
		t.Error("its services were thrown out")
	}
	if err := h.Forget("attic"); err != nil {
		t.Fatal(err)
	}
	if third := admit(t, h, "attic", "machine1"); third.Secret == first.Secret || h.Stands(service) {
		t.Error("what was forgotten came back")
	}
}
