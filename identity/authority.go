package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"dominion/topics"
)

// How long certificates say that they hold. Inside the house nobody asks.
const (
	authorityLasts = 50 * 365 * 24 * time.Hour
	leaderLasts    = 2 * 365 * 24 * time.Hour // some clients refuse longer ones
	nodeLasts      = 3 * 365 * 24 * time.Hour
	backdated      = 24 * time.Hour // for clients whose clocks are behind
)

// earliest is before every house: a clock that says less was never set. Every
// authority holds from then on, so that neither a clock in 1970 nor one that
// ran ahead when the house was made ever puts its certificates in the future.
func earliest() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// sane is a time to date certificates by. A Pi without a clock says 1970 until
// it has asked the network; what it issues then must not have ended before it
// is used.
func sane(now time.Time) time.Time {
	if first := earliest(); now.Before(first) {
		return first
	}
	return now
}

const housePrefix = "Dominion house "

func houseName(authority *x509.Certificate) string {
	return strings.TrimPrefix(authority.Subject.CommonName, housePrefix)
}

// newAuthority makes the key and the self-signed certificate of a house's
// authority, as PEM.
func newAuthority(name string) (keyPEM, certificate []byte, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	id, err := subjectKeyID(&key.PublicKey)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: housePrefix + shortened(name)},
		NotBefore:             earliest(),
		NotAfter:              sane(time.Now()).Add(authorityLasts),
		SubjectKeyId:          id,
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, nil, err
	}
	keyPEM, err = privatePEM(key)
	return keyPEM, certificatePEM(raw), err
}

// shortened keeps a name within what X.520 allows a common name: 64 characters.
func shortened(name string) string {
	const longest = 64 - len(housePrefix)
	for len(name) > longest {
		runes := []rune(name)
		name = string(runes[:len(runes)-1])
	}
	return strings.ToValidUTF8(name, "?")
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // crypto/rand never fails
	}
	return n
}

// issue signs a certificate for a key.
func (h *House) issue(public any, name string, lasts time.Duration, usage x509.ExtKeyUsage, names []string) ([]byte, error) {
	began, ends := validity(time.Now(), lasts, h.authority.NotAfter)
	template := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: name, Organization: []string{shortened(h.name)}},
		NotBefore:             began,
		NotAfter:              ends,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{usage},
		BasicConstraintsValid: true,
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	return x509.CreateCertificate(rand.Reader, template, h.authority, public, h.key)
}

// mostNames bounds what a machine with many addresses puts into a certificate.
const mostNames = 64

// certifiable are the names that may stand in a certificate, each once, sorted.
func certifiable(names []string) []string {
	var all []string
	for _, n := range names {
		if address, err := netip.ParseAddr(n); err == nil {
			all = append(all, address.WithZone("").Unmap().String())
		} else if hostName(n) {
			all = append(all, strings.ToLower(n))
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	return all[:min(len(all), mostNames)]
}

// validity is from when and until when a certificate says that it holds: never
// beyond its authority, whatever the clock says.
func validity(now time.Time, lasts time.Duration, last time.Time) (began, ends time.Time) {
	began = sane(now)
	if latest := last.Add(-lasts); began.After(latest) {
		began = latest
	}
	return sane(began.Add(-backdated)), began.Add(lasts)
}

// hostName tells whether a name may stand in a certificate: one that a machine
// has given itself may hold anything.
func hostName(name string) bool {
	for _, r := range name {
		if r != '.' && r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			return false
		}
	}
	return name != "" && len(name) < 254
}

// pair is a certificate with its key, for TLS.
type pair struct{ tls.Certificate }

// TLS is how the leader serves: TLS 1.2 or newer, with a certificate that names
// all of names (IP addresses and host names of this machine), asked for at each
// handshake and made anew when they change or a third of its life is left. A
// client is asked for its certificate; what that is worth, Certificate tells.
func (h *House) TLS(names func() []string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		ClientAuth: tls.RequestClientCert,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			p, err := h.leaderPair(names(), time.Now())
			if err != nil {
				return nil, err
			}
			return &p.Certificate, nil
		},
	}
}

func (h *House) leaderPair(names []string, now time.Time) (*pair, error) {
	names = certifiable(names)
	h.leader.mu.Lock()
	defer h.leader.mu.Unlock()
	if h.leader.current == nil {
		h.leader.current, h.leader.names = h.storedPair()
	}
	if p := h.leader.current; p != nil && slices.Equal(h.leader.names, names) && !runsOut(p.Leaf, now) && !early(p.Leaf, now) {
		return p, nil
	}
	p, err := h.newLeaderPair(names)
	if err != nil {
		return nil, fmt.Errorf("make the leader's certificate: %w", err)
	}
	h.leader.current, h.leader.names = p, names
	return p, nil
}

// runsOut tells whether less than a third of a certificate's life is left. A
// clock from before its life says nothing.
func runsOut(c *x509.Certificate, now time.Time) bool {
	return c.NotAfter.Sub(now) < c.NotAfter.Sub(c.NotBefore)/3
}

// early tells whether a certificate was made by a clock that ran ahead: for who
// looks at dates, it does not hold yet. A clock that was never set says nothing.
func early(c *x509.Certificate, now time.Time) bool {
	return now.After(earliest()) && now.Before(c.NotBefore)
}

// storedPair is what a former run left; nil when it cannot be used.
func (h *House) storedPair() (*pair, []string) {
	certificate, err := readBounded(filepath.Join(h.dir, leaderCertificateIn))
	if err != nil {
		return nil, nil
	}
	key, err := readBounded(filepath.Join(h.dir, leaderKeyIn))
	if err != nil {
		return nil, nil
	}
	p, err := newPair(certificate, key)
	if err != nil || p.Leaf.CheckSignatureFrom(h.authority) != nil {
		return nil, nil
	}
	p.Certificate.Certificate = append(p.Certificate.Certificate, h.authority.Raw)
	names := slices.Clone(p.Leaf.DNSNames)
	for _, ip := range p.Leaf.IPAddresses {
		names = append(names, ip.String())
	}
	return p, certifiable(names)
}

// newLeaderPair makes a certificate and keeps it. A disk that cannot be written
// costs no more than another certificate at the next start.
func (h *House) newLeaderPair(names []string) (*pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	raw, err := h.issue(key.Public(), "Dominion leader", leaderLasts, x509.ExtKeyUsageServerAuth, names)
	if err != nil {
		return nil, err
	}
	private, err := privatePEM(key)
	if err != nil {
		return nil, err
	}
	if WriteWhole(filepath.Join(h.dir, leaderKeyIn), private, 0o600) != nil ||
		WriteWhole(filepath.Join(h.dir, leaderCertificateIn), certificatePEM(raw), 0o600) != nil {
		os.Remove(filepath.Join(h.dir, leaderCertificateIn))
	}
	p, err := newPair(certificatePEM(raw), private)
	if err != nil {
		return nil, err
	}
	// The authority comes along, so that who belongs to another house can say
	// which one this is.
	p.Certificate.Certificate = append(p.Certificate.Certificate, h.authority.Raw)
	return p, nil
}

func newPair(certificate, key []byte) (*pair, error) {
	p, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, err
	}
	if p.Leaf == nil {
		p.Leaf, err = x509.ParseCertificate(p.Certificate[0])
	}
	return &pair{p}, err
}

// NewKey makes a key for a node, as PEM.
func NewKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return privatePEM(key)
}

// Request asks for a certificate for a key and a node's name: PEM in, PEM out.
func Request(keyPEM []byte, node topics.Node) ([]byte, error) {
	key, err := parseKey(keyPEM)
	if err != nil {
		return nil, fmt.Errorf("ask for a certificate: %w", err)
	}
	raw, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: string(node)}}, key)
	if err != nil {
		return nil, fmt.Errorf("ask for a certificate: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: raw}), nil
}

// requested is the public key of a request that proves to have its private one.
func requested(csrPEM []byte, node topics.Node) (*ecdsa.PublicKey, error) {
	block, _ := pem.Decode(csrPEM)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, errors.New("the request for a certificate is none")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the request for a certificate cannot be read: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the request for a certificate is not signed with its key: %w", err)
	}
	if csr.Subject.CommonName != string(node) {
		return nil, fmt.Errorf("the request for a certificate is for %.70q, not for %s", csr.Subject.CommonName, node)
	}
	key, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("the request for a certificate has no P-256 key")
	}
	return key, nil
}

func privatePEM(key *ecdsa.PrivateKey) ([]byte, error) {
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), nil
}

func certificatePEM(raw []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
}

func parseKey(text []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it holds no key")
	}
	any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	key, ok := any.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("its key is of another kind")
	}
	return key, nil
}

func parseCertificate(text []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("it holds no certificate")
	}
	return x509.ParseCertificate(block.Bytes)
}

// keyID stands for a public key: the SHA-256 of its SubjectPublicKeyInfo.
func keyID(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:])
}

func keyIDOf(key *ecdsa.PublicKey) (string, error) {
	raw, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}

// subjectKeyID is the first 20 bytes of the SHA-256 of a public key. It stands
// in all that an authority issues, so that from a certificate of another house
// its authority's fingerprint can be told.
func subjectKeyID(key *ecdsa.PublicKey) ([]byte, error) {
	raw, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(raw)
	return sum[:20], nil
}

// issuer is the fingerprint of the authority that a certificate says it is from.
func issuer(c *x509.Certificate) string {
	if len(c.AuthorityKeyId) < 8 {
		return "without a fingerprint"
	}
	return grouped(hex.EncodeToString(c.AuthorityKeyId))
}

// fingerprint is a key's first eight bytes for people.
func fingerprint(c *x509.Certificate) string { return grouped(keyID(c)) }

func grouped(id string) string {
	if len(id) < 16 {
		return id
	}
	return id[0:4] + " " + id[4:8] + " " + id[8:12] + " " + id[12:16]
}
