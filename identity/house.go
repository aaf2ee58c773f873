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
	"syscall"
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
// own. The error wraps fs.ErrExist when dir holds anything: nothing is ever
// overwritten. The house is made beside dir and moved there as a whole, so that
// what is left of a call that failed is no house, and Create may be called again.
func Create(dir, name string) (*House, error) {
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return nil, unwritable(dir, err)
	}
	half, err := os.MkdirTemp(parent, filepath.Base(dir)+".new-*") // 0700
	if err != nil {
		return nil, unwritable(dir, err)
	}
	defer os.RemoveAll(half) // once it was moved there is nothing to remove
	if err := furnish(half, name); err != nil {
		return nil, unwritable(dir, err)
	}
	if err := settle(half, dir); errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make the house's identity: %s holds a house, or what is left of one (nothing was changed; dominion status shows the house): %w", dir, fs.ErrExist)
	} else if err != nil {
		return nil, unwritable(dir, err)
	}
	return Open(dir)
}

// furnish writes the files of a new house. The leader's certificate is made
// when it is asked for.
func furnish(dir, name string) error {
	if err := giveDirectory(dir); err != nil {
		return err
	}
	key, certificate, err := newAuthority(name)
	if err != nil {
		return fmt.Errorf("make the house's authority: %w", err)
	}
	for _, f := range []struct {
		name    string
		content []byte
	}{
		{authorityKey, key}, {authorityCertificate, certificate}, {ledgerFile, []byte("{}\n")}, {usersFile, []byte("{}\n")},
	} {
		if err := WriteWhole(filepath.Join(dir, f.name), f.content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// settle moves a directory to where nothing but an empty one may be.
func settle(half, dir string) error {
	if err := syscall.Rmdir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(half, dir); err != nil {
		return err
	}
	return syncDirectory(filepath.Dir(dir))
}

// Open reads a house's identity. The error wraps fs.ErrNotExist when there is
// none, and only then; it names the file and what to do when one is damaged,
// or lost while others are there.
func Open(dir string) (*House, error) {
	h := &House{dir: dir}
	var err error
	if h.authority, err = readAuthority(dir); err != nil {
		return nil, err
	}
	if h.key, err = readAuthorityKey(dir); err != nil {
		return nil, err
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

func readAuthority(dir string) (*x509.Certificate, error) {
	path := filepath.Join(dir, authorityCertificate)
	text, err := readBounded(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !furnished(dir):
		return nil, fmt.Errorf("read the house's identity: %w", err)
	case errors.Is(err, fs.ErrNotExist):
		return nil, damaged(path, errMissing)
	case err != nil:
		return nil, unreadable(path, err)
	}
	c, err := parseCertificate(text)
	if err == nil && !c.IsCA {
		err = errors.New("its certificate is no authority's")
	}
	if err != nil {
		return nil, damaged(path, err)
	}
	return c, nil
}

// furnished tells whether a directory has anything of a house, whatever may
// have happened to the rest.
func furnished(dir string) bool {
	for _, name := range []string{authorityCertificate, authorityKey, ledgerFile, usersFile} {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

func readAuthorityKey(dir string) (*ecdsa.PrivateKey, error) {
	path := filepath.Join(dir, authorityKey)
	text, err := readBounded(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, damaged(path, errMissing)
	} else if err != nil {
		return nil, unreadable(path, err)
	}
	key, err := parseKey(text)
	if err != nil {
		return nil, damaged(path, err)
	}
	return key, nil
}

// Trouble is why a change that was made to the house's lists does not count,
// when one was damaged while the leader runs: what they held before goes on.
func (h *House) Trouble() error {
	return errors.Join(h.ledger.trouble(), h.users.trouble())
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

// errMissing is a file that is not there although the house is. It hides
// fs.ErrNotExist, which means that there is no house.
var errMissing = errors.New("it is missing")

func unreadable(path string, err error) error {
	if errors.Is(err, errTooLong) {
		return damaged(path, err)
	}
	return fmt.Errorf("read the house's identity: %w (is this the user that the leader runs as, or root?)", err)
}

func damaged(path string, err error) error {
	return fmt.Errorf("%s is damaged: %w (put it back from a backup; or move its directory away: the house gets a new authority then, and every machine must join again)", path, err)
}
