package broker

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"

	"dominion/topics"
)

// A login is what a client says of who it is. The first of these that it has
// decides, and what is refused is not tried as the next: its certificate, its
// user name, where it comes from.
type login struct {
	leaf           *x509.Certificate // shown over TLS; nil: none
	named          bool              // a user name was sent, if an empty one
	user, password string
}

func (s *Server) loginOf(c *conn, pk packets.Packet) login {
	if s.opt.Accounts == nil {
		return login{}
	}
	return login{
		leaf:  c.certificate(),
		named: pk.Connect.UsernameFlag, user: string(pk.Connect.Username), password: string(pk.Connect.Password),
	}
}

// name is what the client calls itself; nobody vouches for it.
func (l login) name() string {
	switch {
	case l.leaf != nil:
		return shorten(l.leaf.Subject.CommonName)
	case l.named:
		return shorten(l.user)
	}
	return ""
}

// denial is why a CONNECT is refused, for people and for the client.
type denial struct {
	why  string
	code packets.Code
}

// recognise finds out who a client is. What it finds is settled together with
// the question whether somebody was expelled meanwhile: a client that was
// judged before, and would be known only after, is judged again.
func (s *Server) recognise(c *conn, pk packets.Packet) *denial {
	if c.inside {
		return nil
	}
	if pk.Connect.PasswordFlag && !pk.Connect.UsernameFlag {
		if no := s.passwordAlone(pk.ProtocolVersion); no != nil {
			return no
		}
	}
	l := s.loginOf(c, pk)
	c.claimed = l.name()
	for range 3 {
		before := s.expulsions.Load()
		account, who, no := s.identify(c, l)
		if no != nil {
			return no
		}
		if s.settle(c, account, who, before) {
			return nil
		}
	}
	return &denial{"the accounts change too fast, it may try again", packets.ErrServerUnavailable}
}

// passwordAlone is what a password without a user name means: to MQTT 3.1.1 a
// CONNECT that is wrong (3.1.2-22), and is not answered; to MQTT 5 a login, for
// which there is no account.
func (s *Server) passwordAlone(version byte) *denial {
	const why = "it sent a password without a user name"
	switch {
	case version < 5:
		return &denial{why, packets.ErrProtocolViolation}
	case s.opt.Accounts != nil:
		return &denial{why, packets.ErrBadUsernameOrPassword}
	}
	return nil
}

func (s *Server) settle(c *conn, account topics.Account, who []topics.Identity, before int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.expulsions.Load() != before {
		return false
	}
	c.account, c.who = account, who
	return true
}

func (s *Server) identify(c *conn, l login) (topics.Account, []topics.Identity, *denial) {
	var account topics.Account
	var no *denial
	switch {
	case l.leaf != nil:
		account, no = s.byCertificate(l)
	case l.named:
		account, no = s.byPassword(c.RemoteAddr(), l, c.closed)
	default:
		who, no := s.byAddress(c)
		return topics.Account{}, who, no
	}
	if no != nil {
		return topics.Account{}, nil, no
	}
	if account.Name == "" || account.Who.Name == "" { // without a name it would be all of its role
		return topics.Account{}, nil, &denial{"an account without a name", packets.ErrNotAuthorized}
	}
	return account, []topics.Identity{account.Who}, nil
}

func (s *Server) byCertificate(l login) (topics.Account, *denial) {
	account, err := s.opt.Accounts.Certificate(l.leaf)
	if err != nil {
		return account, &denial{"certificate refused: " + err.Error(), packets.ErrNotAuthorized}
	}
	return account, nil
}

func (s *Server) byPassword(remote net.Addr, l login, gone <-chan struct{}) (topics.Account, *denial) {
	from := subnet(remote)
	if !s.guesses.wait(from, l.user, gone, s.done) {
		return topics.Account{}, &denial{"too many wrong passwords came from its address, of this user or of many: it may try again in a few seconds", packets.ErrConnectionRateExceeded}
	}
	account, err := s.opt.Accounts.Password(l.user, l.password)
	if err != nil {
		return account, &denial{"login refused: " + err.Error(), packets.ErrBadUsernameOrPassword}
	}
	s.guesses.right(from, l.user)
	return account, nil
}

// Login tells who somebody is that has a user and a password, and speaks
// something else than MQTT with another part of this process. Wrong ones are
// slowed down and told as those of clients are, and count together with them;
// it may take some seconds, or until ctx ends. Without Accounts there is nobody.
func (s *Server) Login(ctx context.Context, remote net.Addr, user, password string) (topics.Account, error) {
	if s.opt.Accounts == nil {
		return topics.Account{}, errors.New("there are no accounts")
	}
	account, no := s.byPassword(remote, login{named: true, user: user, password: password}, ctx.Done())
	if no != nil {
		s.refuseVisitor(Connecting, remote, shorten(user), no.why)
		return topics.Account{}, errors.New(no.why)
	}
	return account, nil
}

// byAddress is what a client without a login may be.
func (s *Server) byAddress(c *conn) ([]topics.Identity, *denial) {
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	here := ok && a.IP.IsLoopback() && !c.forwarded
	switch {
	case !here && !s.opt.AllowInsecure:
		return nil, &denial{"clients without a login are let in from this machine only (allow_insecure lets others in)", packets.ErrNotAuthorized}
	case len(s.opt.Anonymous) == 0:
		return nil, &denial{"clients without a login are not let in", packets.ErrNotAuthorized}
	}
	return s.opt.Anonymous, nil
}

// certificate is what the client showed in the TLS handshake, and has the key
// of; nil if it showed none.
func (c *conn) certificate() *x509.Certificate {
	t, ok := c.Conn.(interface{ ConnectionState() tls.ConnectionState })
	if !ok {
		return nil
	}
	if shown := t.ConnectionState().PeerCertificates; len(shown) > 0 {
		return shown[0]
	}
	return nil
}

// called names a client in a sentence: its account or, without one, what it may be.
func (c *conn) called() string {
	switch {
	case c.account.Name != "":
		return c.account.Name
	case c.inside:
		return "this process's own"
	}
	roles := make([]string, len(c.who))
	for i, w := range c.who {
		roles[i] = string(w.Role)
	}
	return fmt.Sprintf("a client without a login (%s)", strings.Join(roles, ", "))
}
