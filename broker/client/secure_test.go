package client_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"dominion/broker"
	"dominion/broker/client"
	"dominion/topics"
)

// authority signs certificates.
type authority struct {
	t   *testing.T
	key *ecdsa.PrivateKey
	crt *x509.Certificate
}

func newAuthority(t *testing.T, name string) *authority {
	a := &authority{t: t, key: newKey(t)}
	a.crt = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().AddDate(-20, 0, 0), NotAfter: time.Now().AddDate(20, 0, 0),
	}, a.key).Leaf
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) sign(c *x509.Certificate, key *ecdsa.PrivateKey) tls.Certificate {
	a.t.Helper()
	parent := a.crt
	if parent == nil {
		parent = c
	}
	c.SerialNumber = big.NewInt(1)
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// issue makes a certificate for an IP address, or for a node, that began and
// ends so many years from now.
func (a *authority) issue(name string, begins, ends int) tls.Certificate {
	c := &x509.Certificate{
		Subject:   pkix.Name{CommonName: name},
		NotBefore: time.Now().AddDate(begins, 0, -1), NotAfter: time.Now().AddDate(ends, 0, 1),
	}
	if ip := net.ParseIP(name); ip != nil {
		c.IPAddresses = []net.IP{ip}
	}
	return a.sign(c, newKey(a.t))
}

func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.crt)
	return p
}

// ledger knows nodes by the names in their certificates, and no passwords.
type ledger map[string]bool

func (l ledger) Password(string, string) (topics.Account, error) {
	return topics.Account{}, errors.New("wrong user or password")
}

func (l ledger) Certificate(leaf *x509.Certificate) (topics.Account, error) {
	name := leaf.Subject.CommonName
	if !l[name] {
		return topics.Account{}, errors.New("unknown")
	}
	return topics.Account{Name: "node " + name, Who: topics.Identity{Role: topics.RoleNode, Name: name}, Key: "k"}, nil
}

// secureBroker is the embedded broker with a plain and a TLS listener; nobody
// comes in without a login.
func secureBroker(t *testing.T, shows tls.Certificate, accounts broker.Accounts, change func(*broker.Options)) (plain, secure string) {
	t.Helper()
	o := broker.Options{
		Listen: []string{"127.0.0.1:0"}, ListenTLS: []string{"127.0.0.1:0"}, Accounts: accounts, Log: zerolog.Nop(),
		TLS: &tls.Config{Certificates: []tls.Certificate{shows}, ClientAuth: tls.RequestClientCert},
	}
	if change != nil {
		change(&o)
	}
	server, err := broker.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Run(t.Context()) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-ended; err != nil {
			t.Errorf("broker: %v", err)
		}
	})
	return server.Addrs()[0].String(), server.TLSAddrs()[0].String()
}

// A node comes in by its certificate, and says goodbye without its will.
func TestANodeConnectsOverTLS(t *testing.T) {
	t.Parallel()
	ca, s := newAuthority(t, "our house"), newSpace()
	watched := make(chan broker.Refusal, 10)
	plain, at := secureBroker(t, ca.issue("127.0.0.1", 0, 1), ledger{"attic": true}, func(o *broker.Options) {
		o.Rules, o.Refused = s, func(r broker.Refusal) { watched <- r }
		o.Anonymous = []topics.Identity{{Role: topics.RoleViewer}, {Role: topics.RoleOperator}}
	})
	for _, scheme := range []string{"mqtts://", "ssl://", "tls://"} {
		b := &testBroker{url: "mqtt://" + plain} // for who looks on
		o := options(s, "attic", "m1")
		o.Broker = scheme + at
		o.TLS = &tls.Config{RootCAs: ca.pool(), Certificates: []tls.Certificate{ca.issue("attic", 0, 1)}}
		attic := (&room{has: []topics.Message{service(s, "attic", "lamp", "1")}}).start(t, b, o, quick())
		sid := attic.synced(1)
		attic.stands(b, topics.Online, sid)
		attic.stop()
		attic.stands(b, topics.Online, sid) // and not lost
	}
	select {
	case r := <-watched:
		t.Errorf("refused: %+v", r)
	default:
	}
}

// It says in plain words why there is no TLS, what to do about it, and always the same.
func TestTroubleWithTLS(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t, "our house"), newAuthority(t, "their house")
	trusts := &tls.Config{RootCAs: ours.pool()}
	attic := &tls.Config{RootCAs: ours.pool(), Certificates: []tls.Certificate{ours.issue("attic", 0, 1)}}
	serve := func(shows tls.Certificate) string {
		_, secure := secureBroker(t, shows, ledger{}, nil)
		return "mqtts://" + secure
	}
	good := ours.issue("127.0.0.1", 0, 1)
	plain, secure := secureBroker(t, good, ledger{}, nil)
	year := func(years, days int) string { return time.Now().AddDate(years, 0, days).UTC().Format(time.DateOnly) }

	for name, c := range map[string]struct {
		broker string
		tls    *tls.Config
		want   []string
	}{
		"an authority that is not trusted": {serve(theirs.issue("127.0.0.1", 0, 1)), trusts, []string{`"CN=their house"`, "does not trust", "domain join CODE"}},
		"no authority":                     {"mqtts://" + secure, nil, []string{`"CN=our house"`, "does not trust", "domain join CODE"}},
		"another host's certificate":       {serve(ours.issue("192.0.2.9", 0, 1)), trusts, []string{"is for 192.0.2.9", "in its address"}},
		"a certificate for nobody":         {serve(ours.issue("nobody", 0, 1)), trusts, []string{"is for no host at all"}},
		"a certificate that has ended":     {serve(ours.issue("127.0.0.1", -3, -2)), trusts, []string{"ended on " + year(-2, 1), "the clock of this machine says " + time.Now().Format(time.DateOnly)}},
		"a certificate of the future":      {serve(ours.issue("127.0.0.1", 2, 3)), trusts, []string{"is valid from " + year(2, -1), "set the clock"}},
		"the plain port":                   {"mqtts://" + plain, trusts, []string{"in the TLS handshake", "Then write mqtt://" + plain}},
		"a port of something else":         {"mqtts://" + talker(t), trusts, []string{"no TLS is spoken at"}},
		"the TLS port, plain":              {"mqtt://" + secure, nil, []string{"TLS is spoken at " + secure, "write mqtts://" + secure}},
		"another broker's TLS port, plain": {"mqtt://" + demanding(t, good, tls.VersionTLS13), nil, []string{"before it answered", "write mqtts://"}},
		"a broker that wants another one":  {"mqtts://" + demanding(t, good, tls.VersionTLS13), attic, []string{"refused the TLS handshake (tls: certificate required)", "of its own house"}},
		"the same in TLS 1.2":              {"mqtts://" + demanding(t, good, tls.VersionTLS12), attic, []string{"refused the TLS handshake (tls: handshake failure)"}},
		"a broker that wants one":          {"mqtts://" + demanding(t, good, tls.VersionTLS13), trusts, []string{"refused the TLS handshake (tls: certificate required)"}},
		"a machine that was forgotten":     {"mqtts://" + secure, attic, []string{"by this machine's certificate", "dominion invite there", "domain join CODE here"}},
		"nobody":                           {"mqtts://" + secure, trusts, []string{"no login was given", "dominion invite there", "domain join CODE here"}},
		"a wrong password":                 {strings.Replace("mqtts://"+secure, "//", "//ann:guess@", 1), trusts, []string{`as user "ann"`, "check user and password"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var said []string
			for range 2 {
				asks := asker(t, &testBroker{}, topics.Space{}, func(o *client.Options) {
					o.Broker, o.Filters, o.Dial, o.TLS = c.broker, []string{"a"}, nil, c.tls
				})
				err := trouble(t, asks)
				for _, want := range c.want {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%v, want %q", err, want)
					}
				}
				said = append(said, err.Error())
			}
			if said[0] != said[1] {
				t.Errorf("the second try says something else: %q", said)
			}
		})
	}
}

// What a configuration itself says against the broker can be told from other errors.
func TestTheConfigurationsOwnJudgementIsKept(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t, "our house")
	_, secure := secureBroker(t, ca.issue("127.0.0.1", 0, 1), ledger{}, nil)
	foreign := errors.New("it belongs to house 3f9a")
	asks := asker(t, &testBroker{}, topics.Space{}, func(o *client.Options) {
		o.Broker, o.Filters, o.Dial = "mqtts://"+secure, []string{"a"}, nil
		o.TLS = &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(tls.ConnectionState) error { return foreign }}
	})
	err := trouble(t, asks)
	if !errors.Is(err, foreign) || !strings.Contains(err.Error(), "the broker at "+secure+": it belongs to house 3f9a") {
		t.Errorf("error %v", err)
	}
}

// trouble is why there is no link, once the first try has ended.
func trouble(t *testing.T, c *client.Client) error {
	t.Helper()
	var err error
	eventually(t, func() string {
		_, err = c.Ask(t.Context(), client.Command{Node: "attic", Method: "ping", Subject: "host"})
		if err == nil {
			t.Fatal("there is a link")
		}
		if strings.HasSuffix(err.Error(), client.ErrDown.Error()) {
			return "not said why: " + err.Error()
		}
		return ""
	})
	return err
}

// demanding listens for TLS with certificates of an authority that nobody has.
func demanding(t *testing.T, shows tls.Certificate, version uint16) string {
	return listen(t, func(nc net.Conn) {
		c := tls.Server(nc, &tls.Config{
			Certificates: []tls.Certificate{shows}, MaxVersion: version,
			ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: newAuthority(t, "nobody's house").pool(),
		})
		_, _ = io.Copy(io.Discard, c)
	})
}

// talker says something that is no TLS.
func talker(t *testing.T) string {
	return listen(t, func(nc net.Conn) {
		_, _ = io.WriteString(nc, "HTTP/1.1 400 Bad Request\r\n\r\n")
		_, _ = io.Copy(io.Discard, nc)
	})
}

func listen(t *testing.T, serve func(net.Conn)) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				serve(nc)
			}()
		}
	}()
	return l.Addr().String()
}
