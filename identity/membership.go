package identity

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"dominion/topics"
)

// Membership is what a machine keeps of the house that it joined.
type Membership struct {
	House       topics.HouseID `json:"house"`
	Name        string         `json:"name"` // of the house
	Node        topics.Node    `json:"node"`
	Base        topics.Base    `json:"base"`
	Broker      string         `json:"broker"` // its address as last known: mqtts://192.168.1.5:8883
	Door        string         `json:"door"`   // host:port of the leader's HTTPS port, as last known
	Username    string         `json:"username,omitempty"`
	Password    string         `json:"password,omitempty"`
	Secret      string         `json:"secret"`
	Logins      string         `json:"logins"`      // LoginsOwn or LoginsShared
	Authority   []byte         `json:"authority"`   // PEM
	Certificate []byte         `json:"certificate"` // PEM
	Key         []byte         `json:"key"`         // PEM
}

// How a node and its services log in at the broker.
const (
	LoginsOwn    = "own"    // each with its own: NodeLogin, ServiceLogin
	LoginsShared = "shared" // all with Username and Password
)

const (
	membershipFile = "membership.json"
	authorityFile  = "house.crt"
)

// AuthorityFile is where Save puts the authority's certificate, for services.
func AuthorityFile(dir string) string { return filepath.Join(dir, authorityFile) }

// LoadMembership reads what Save wrote. The error wraps fs.ErrNotExist for a
// machine that has not joined.
func LoadMembership(dir string) (*Membership, error) {
	path := filepath.Join(dir, membershipFile)
	text, err := readBounded(path)
	if err != nil && !errors.Is(err, errTooLong) {
		return nil, fmt.Errorf("read which house this machine belongs to: %w", err)
	}
	m := &Membership{}
	if err == nil {
		err = json.Unmarshal(text, m)
	}
	if err == nil {
		err = m.Node.Check()
	}
	if err == nil {
		_, err = m.TLS()
	}
	if err != nil {
		return nil, fmt.Errorf("%s is damaged: %w (put it back from a backup, or move it away and join again: domain join)", path, err)
	}
	return m, nil
}

// Save writes the membership whole or not at all, into a directory that is made
// when it is missing.
func (m *Membership) Save(dir string) error {
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("keep the membership: %w", err)
	}
	// The authority is no secret, and is written first: with membership.json the
	// machine has joined.
	for _, f := range []struct {
		name    string
		content []byte
		mode    fs.FileMode
	}{{authorityFile, m.Authority, 0o644}, {membershipFile, append(text, '\n'), 0o600}} {
		if err := WriteWhole(filepath.Join(dir, f.name), f.content, f.mode); err != nil {
			return fmt.Errorf("keep the membership in %s: %w (is the disk full, the directory writable?)", dir, err)
		}
	}
	return nil
}

// Leave takes the membership away. That there is none is no error.
func Leave(dir string) error {
	for _, name := range []string{membershipFile, authorityFile} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("leave the house: %w", err)
		}
	}
	return nil
}

// ForeignLeader is the error of a connection to a leader of another house, or
// to somebody who poses as one.
type ForeignLeader struct {
	Want, Got string // fingerprints of authorities; Got is what it claims
	Address   string // host name, as far as TLS knows it; who dialled may set it
}

func (e *ForeignLeader) Error() string {
	where := "there"
	if e.Address != "" {
		where = "at " + e.Address
	}
	return fmt.Sprintf("the leader %s belongs to another house: its authority is %s, ours is %s (was the house made anew? then join it again: domain leave, domain join)", where, e.Got, e.Want)
}

// TLS is how the machine connects to its leader: with its own certificate, and
// to nobody but who shows one of the house's authority for serving. Names and
// dates are not looked at: leaders move, and clocks lie.
func (m *Membership) TLS() (*tls.Config, error) {
	own, err := newPair(m.Certificate, m.Key)
	if err != nil {
		return nil, fmt.Errorf("its certificate: %w", err)
	}
	authority, err := parseCertificate(m.Authority)
	if err == nil && !authority.IsCA {
		err = errors.New("it is no authority's")
	}
	if err != nil {
		return nil, fmt.Errorf("the house's authority: %w", err)
	}
	if own.Leaf.CheckSignatureFrom(authority) != nil {
		return nil, fmt.Errorf("its certificate is of another house: issued by %s, not %s", issuer(own.Leaf), fingerprint(authority))
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		// Not the names, which a Pi by its address has none of, and not the
		// dates: who it is is checked below, on each connection.
		InsecureSkipVerify: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 {
				return errors.New("the leader shows no certificate")
			}
			return isLeader(s.PeerCertificates[0], authority, s.ServerName)
		},
		// Shown whatever authorities the leader names.
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own.Certificate, nil },
	}, nil
}

func isLeader(leaf, authority *x509.Certificate, address string) error {
	if leaf.CheckSignatureFrom(authority) != nil {
		return &ForeignLeader{Want: fingerprint(authority), Got: issuer(leaf), Address: address}
	}
	if !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) {
		return fmt.Errorf("what answers there shows the certificate of a machine of the house (%.70q), not the leader's", leaf.Subject.CommonName)
	}
	return nil
}

// Ages tells whether the certificate should be made anew: less than a third of
// its life is left.
func (m *Membership) Ages(now time.Time) bool {
	c, err := parseCertificate(m.Certificate)
	return err == nil && runsOut(c, now)
}

// Fingerprint names the authority of the house, as House.Fingerprint does.
func (m *Membership) Fingerprint() string {
	c, err := parseCertificate(m.Authority)
	if err != nil {
		return ""
	}
	return fingerprint(c)
}
