package broker_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"
	"github.com/rs/zerolog"

	"dominion/broker"
	"dominion/topics"
)

// house is who belongs to it: passwords by user, and what certificates say.
type house struct {
	mu        sync.Mutex // guards all below
	passwords map[string]string
	accounts  map[string]topics.Account // by user, or name in a certificate
	asked     int                       // for a password
}

func (h *house) Password(user, password string) (topics.Account, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	if want, known := h.passwords[user]; !known || want != password {
		return topics.Account{}, errors.New("wrong user or password")
	}
	return h.accounts[user], nil
}

func (h *house) Certificate(leaf *x509.Certificate) (topics.Account, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a, known := h.accounts[leaf.Subject.CommonName]
	if !known || leaf.Issuer.Organization[0] != "our house" {
		return a, fmt.Errorf("%s is not in the ledger", leaf.Subject.CommonName)
	}
	return a, nil
}

func (h *house) forget(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.accounts, name)
	delete(h.passwords, name)
}

func (h *house) stands(a topics.Account) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.accounts {
		if a == b {
			return true
		}
	}
	return false
}

// change gives a user another role or key.
func (h *house) change(user string, a topics.Account) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.accounts[user] = a
}

func (h *house) tries() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked
}

// ours has an account of each kind; every password is "right".
func ours() *house {
	h := &house{passwords: map[string]string{}, accounts: map[string]topics.Account{}}
	add := func(login, kind string, who topics.Identity) {
		h.passwords[login] = "right"
		h.accounts[login] = topics.Account{Name: kind + " " + login, Who: who, Key: "key of " + login}
	}
	add("attic", "node", topics.Identity{Role: topics.RoleNode, Name: "attic"})
	add("porch", "node", topics.Identity{Role: topics.RoleNode, Name: "porch"})
	add("attic.lamp", "service", topics.Identity{Role: topics.RoleService, Name: "lamp"})
	add("porch.lamp", "service", topics.Identity{Role: topics.RoleService, Name: "lamp"})
	add("ann", "user", topics.Identity{Role: topics.RoleOperator, Name: "ann"})
	add("vera", "user", topics.Identity{Role: topics.RoleViewer, Name: "vera"})
	add("ha", "user", topics.Identity{Role: topics.RoleHomeAssistant, Name: "ha"})
	return h
}

// doors are a server's listeners for clients that come from anywhere.
type doors struct {
	*broker.Server
	plain, secure *fakeListener
	refused       refusals
}

// lan runs a server with accounts: viewers on loopback need none.
func lan(t testing.TB, h *house, change func(*broker.Options)) *doors {
	t.Helper()
	d := &doors{plain: newFakeListener(), secure: newFakeListener()}
	o := broker.Options{
		Anonymous: []topics.Identity{{Role: topics.RoleViewer}}, Accounts: h,
		Log: zerolog.Nop(), Refused: d.refused.add,
	}
	if change != nil {
		change(&o)
	}
	s, err := broker.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	d.Server = s
	s.AddListener(d.plain, nil)
	s.AddListener(d.secure, serverTLS(t))
	run(t, s)
	return d
}

// serverTLS asks for certificates and verifies none, as a house's does.
func serverTLS(t testing.TB) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{certificate(t, "leader", "our house")}, ClientAuth: tls.RequestClientCert}
}

func clientTLS(shown ...tls.Certificate) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, Certificates: shown} // whom clients trust is not the broker's business
}

func certificate(t testing.TB, name, issuer string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	is := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name, Organization: []string{issuer}},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, is, is, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// dialTLS comes from an address and shows a certificate, if any.
func (d *doors) dialTLS(remote string, shown ...tls.Certificate) net.Conn {
	return tls.Client(d.secure.dial(remote), clientTLS(shown...))
}

func as(user, password string) func(*packets.Packet) {
	return func(pk *packets.Packet) {
		pk.Connect.UsernameFlag, pk.Connect.Username = true, []byte(user)
		pk.Connect.PasswordFlag, pk.Connect.Password = true, []byte(password)
	}
}

// with does several changes to a CONNECT; nil ones are left out.
func with(changes ...func(*packets.Packet)) func(*packets.Packet) {
	return func(pk *packets.Packet) {
		for _, change := range changes {
			if change != nil {
				change(pk)
			}
		}
	}
}

func version(v byte) func(*packets.Packet) {
	return func(pk *packets.Packet) { pk.ProtocolVersion = v }
}

func keep(pk *packets.Packet) {
	pk.Connect.Clean = false
	pk.Properties.SessionExpiryInterval, pk.Properties.SessionExpiryIntervalFlag = 3600, true
}

// is compares a peer's CONNACK with a code of MQTT 3.1.1, or what MQTT 5 has for it.
func (p *peer) is(code byte) {
	p.t.Helper()
	if p.version == 5 {
		code = map[byte]byte{
			0: 0,
			packets.Err3ClientIdentifierNotValid.Code:   packets.ErrClientIdentifierNotValid.Code,
			packets.Err3ServerUnavailable.Code:          packets.ErrConnectionRateExceeded.Code,
			packets.ErrMalformedUsernameOrPassword.Code: packets.ErrBadUsernameOrPassword.Code,
			packets.Err3NotAuthorized.Code:              packets.ErrNotAuthorized.Code,
		}[code]
	}
	if p.connack.FixedHeader.Type != packets.Connack || p.connack.ReasonCode != code {
		p.t.Errorf("MQTT %d: packet type %d with code %#x, want CONNACK with %#x", p.version, p.connack.FixedHeader.Type, p.connack.ReasonCode, code)
	}
}

// stays waits for the answer to a ping.
func (p *peer) stays() {
	p.t.Helper()
	p.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pingreq}})
	p.await("PINGRESP", func(pk packets.Packet) bool { return pk.FixedHeader.Type == packets.Pingresp })
}

func TestWhoAClientIs(t *testing.T) {
	const (
		wrongLogin = 4
		notAllowed = 5
	)
	for _, c := range []struct {
		name   string
		remote string
		login  func(*packets.Packet)
		shown  string // name in the certificate
		issuer string
		code   byte
		role   topics.Role // where it is let in
	}{
		{name: "anonymous here", remote: "127.0.0.1", role: topics.RoleViewer},
		{name: "anonymous elsewhere", remote: "192.168.1.9", code: notAllowed},
		{name: "password here", remote: "127.0.0.1", login: as("ann", "right"), role: topics.RoleOperator},
		{name: "password elsewhere", remote: "192.168.1.9", login: as("ann", "right"), role: topics.RoleOperator},
		{name: "wrong password here", remote: "127.0.0.1", login: as("ann", "wrong"), code: wrongLogin},
		{name: "no password here", remote: "127.0.0.1", login: func(pk *packets.Packet) {
			pk.Connect.UsernameFlag, pk.Connect.Username = true, []byte("ann")
		}, code: wrongLogin},
		{name: "empty user here", remote: "127.0.0.1", login: as("", "right"), code: wrongLogin},
		{name: "unknown user elsewhere", remote: "192.168.1.9", login: as("eve", "right"), code: wrongLogin},
		{name: "certificate", remote: "192.168.1.9", shown: "attic", issuer: "our house", role: topics.RoleNode},
		{name: "certificate before user", remote: "192.168.1.9", shown: "attic", issuer: "our house", login: as("ann", "wrong"), role: topics.RoleNode},
		{name: "certificate of another house", remote: "192.168.1.9", shown: "attic", issuer: "their house", code: notAllowed},
		{name: "certificate of another house here", remote: "127.0.0.1", shown: "attic", issuer: "their house", code: notAllowed},
		{name: "certificate of another house with a right login", remote: "127.0.0.1", shown: "attic", issuer: "their house", login: as("ann", "right"), code: notAllowed},
		{name: "nameless", remote: "192.168.1.9", login: as("nameless", "right"), code: notAllowed},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := ours()
			h.passwords["nameless"] = "right" // it would be any node
			h.accounts["nameless"] = topics.Account{Name: "node", Who: topics.Identity{Role: topics.RoleNode}, Key: "k"}
			d := lan(t, h, nil)
			for _, v := range []byte{4, 5} {
				for _, secure := range []bool{false, true} {
					if c.shown != "" && !secure {
						continue
					}
					var nc net.Conn
					switch {
					case c.shown != "":
						nc = d.dialTLS(c.remote, certificate(t, c.shown, c.issuer))
					case secure:
						nc = d.dialTLS(c.remote)
					default:
						nc = d.plain.dial(c.remote)
					}
					p := try(t, nc, "someone", with(version(v), c.login))
					p.is(c.code)
					if c.code != 0 {
						p.gone()
						continue
					}
					for role, topic := range map[topics.Role]string{
						topics.RoleNode: "dominion/attic/state/info", topics.RoleOperator: "dominion/attic/command/ping/host",
					} {
						before := d.refused.count()
						p.publish(topic, "x", 1, false)
						if wrote := d.refused.count() == before; wrote != (c.role == role) {
							t.Errorf("MQTT %d: wrote %s: %v, want %v", v, topic, wrote, c.role == role)
						}
					}
					p.disconnect()
				}
			}
		})
	}
}

func TestWithoutAccountsLoginsAreNotLookedAt(t *testing.T) {
	d := lan(t, nil, func(o *broker.Options) { o.Accounts, o.Anonymous = nil, everybody() })
	join(t, d.plain.dial("127.0.0.1"), "named", as("eve", "wrong"))
	join(t, d.dialTLS("127.0.0.1", certificate(t, "eve", "their house")), "shown", nil)
	try(t, d.dialTLS("192.168.1.9", certificate(t, "attic", "our house")), "away", nil).is(5)
}

// A password without a user name is no CONNECT of MQTT 3.1.1 (3.1.2-22), and of
// MQTT 5 one for which there is no account.
func TestAPasswordWithoutAUserIsRefused(t *testing.T) {
	alone := func(pk *packets.Packet) { pk.Connect.PasswordFlag, pk.Connect.Password = true, []byte("right") }
	d := lan(t, ours(), nil)
	if p := try(t, d.plain.dial("127.0.0.1"), "three", alone); p.connack.FixedHeader.Type != 0 {
		t.Errorf("MQTT 3.1.1: answered with packet type %d, code %d", p.connack.FixedHeader.Type, p.connack.ReasonCode)
	}
	try(t, d.plain.dial("127.0.0.1"), "five", with(version(5), alone)).is(4)
	d.refused.are(t,
		broker.Refusal{What: broker.Connecting, Client: "three"},
		broker.Refusal{What: broker.Connecting, Client: "five"})
}
