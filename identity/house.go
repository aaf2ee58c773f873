// Package identity is who belongs to a house: at the leader the house's
// authority, the ledger of its nodes and its users; at a machine its
// membership. docs/decisions/0005 says why it is as it is.
//
// Inside a house keys are trusted, not dates: a machine is let in because the
// ledger has its public key under its name, so that no clock, and no machine
// that slept for years, ends a house. Certificates have right dates all the
// same, for tools that look.
package identity

import (
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// House is the leader's side: who belongs. It may be used by many goroutines,
// and its files may be changed by another process (the command line) at the
// same time: changes are seen at the next call.
type House struct {
	dir       string
	name      string
	authority *x509.Certificate
	key       *ecdsa.PrivateKey

	leader leaderCertificate
	ledger file[ledger]
	users  file[users]
	checks checks
}

// The files of a house, in its directory.
const (
	authorityCertificate = "authority.crt"
	authorityKey         = "authority.key"
	leaderCertificateIn  = "leader.crt"
	leaderKeyIn          = "leader.key"
	ledgerFile           = "ledger.json"
	usersFile            = "users.json"
)

// Create makes the identity of a new house in dir, with an authority of its
// own. The error wraps fs.ErrExist when there is one: nothing is ever
// overwritten. What is left of a call that failed is no house, and Create may be
// called again.
func Create(dir, name string) (*House, error) {
	if _, err := os.Stat(filepath.Join(dir, authorityCertificate)); err == nil {
		return nil, fmt.Errorf("make the house's identity: %s has one: %w", dir, fs.ErrExist)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, unwritable(dir, err)
	}
	unlock, err := lock(dir)
	if err != nil {
		return nil, unwritable(dir, err)
	}
	defer unlock()
	if _, err := os.Stat(filepath.Join(dir, authorityCertificate)); err == nil {
		return nil, fmt.Errorf("make the house's identity: %s has one: %w", dir, fs.ErrExist)
	}
	key, certificate, err := newAuthority(name)
	if err != nil {
		return nil, fmt.Errorf("make the house's authority: %w", err)
	}
	// The certificate comes last: with it, the house is there.
	for _, f := range []struct {
		name    string
		content []byte
	}{{authorityKey, key}, {authorityCertificate, certificate}} {
		if err := writeWhole(filepath.Join(dir, f.name), f.content, 0o600); err != nil {
			return nil, unwritable(dir, err)
		}
	}
	return Open(dir)
}

// Open reads a house's identity. The error wraps fs.ErrNotExist when there is
// none, and names the file and what to do when one is damaged.
func Open(dir string) (*House, error) {
	certificate, err := readBounded(filepath.Join(dir, authorityCertificate))
	if err != nil {
		return nil, fmt.Errorf("read the house's identity: %w", err)
	}
	h := &House{dir: dir}
	if h.authority, err = parseCertificate(certificate); err != nil {
		return nil, damaged(filepath.Join(dir, authorityCertificate), err)
	}
	key, err := readBounded(filepath.Join(dir, authorityKey))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, damaged(filepath.Join(dir, authorityKey), errors.New("it is missing"))
	} else if err != nil {
		return nil, fmt.Errorf("read the house's identity: %w", err)
	}
	if h.key, err = parseKey(key); err != nil {
		return nil, damaged(filepath.Join(dir, authorityKey), err)
	}
	if !h.key.PublicKey.Equal(h.authority.PublicKey) {
		return nil, damaged(filepath.Join(dir, authorityKey), errors.New("it does not belong to authority.crt"))
	}
	h.name = houseName(h.authority)
	h.ledger = file[ledger]{path: filepath.Join(dir, ledgerFile), check: checkLedger}
	h.users = file[users]{path: filepath.Join(dir, usersFile), check: checkUsers}
	h.checks.init()
	if _, err := h.ledger.read(); err != nil {
		return nil, err
	}
	if _, err := h.users.read(); err != nil {
		return nil, err
	}
	return h, nil
}

// Name is what people called the house when it was made.
func (h *House) Name() string { return h.name }

// AuthorityPEM is the authority's certificate, for those who shall trust the
// house. It is no secret.
func (h *House) AuthorityPEM() []byte { return certificatePEM(h.authority.Raw) }

// Fingerprint names the authority for people: "3f9a 11c2 88d0 4e5b".
func (h *House) Fingerprint() string { return fingerprint(h.authority) }

// leaderCertificate is the leader's own certificate, made anew when it must.
type leaderCertificate struct {
	mu      sync.Mutex // guards what follows
	current *pair
	names   []string
}

func unwritable(dir string, err error) error {
	return fmt.Errorf("write the house's identity in %s: %w (is the disk full, the directory writable for this user?)", dir, err)
}

func damaged(path string, err error) error {
	return fmt.Errorf("%s is damaged: %w (put it back from a backup; or move its directory away: the house gets a new authority then, and every machine must join again)", path, err)
}
