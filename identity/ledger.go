package identity

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base32"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"dominion/topics"
)

// ledger is the nodes of the house, as the file has them.
type ledger struct {
	Nodes map[topics.Node]entry `json:"nodes"`
}

type entry struct {
	ID     topics.MachineID `json:"id"`
	Key    string           `json:"key"`    // keyID of its public key
	Secret string           `json:"secret"` // of which the logins are made
	Joined time.Time        `json:"joined"`
	Renews time.Time        `json:"renews"` // when its certificate is to be made anew
}

func checkLedger(l *ledger) error {
	if l.Nodes == nil {
		l.Nodes = map[topics.Node]entry{}
	}
	for name, e := range l.Nodes {
		if err := name.Check(); err != nil {
			return err
		}
		if e.Key == "" || e.Secret == "" {
			return fmt.Errorf("node %s has no key or no secret", name)
		}
	}
	return nil
}

// Node is a machine of the house.
type Node struct {
	Name        topics.Node
	ID          topics.MachineID
	Joined      time.Time
	Renews      time.Time // when its certificate is to be made anew; nothing happens if it is not
	Fingerprint string    // of its key, as House.Fingerprint
}

// NameTaken is returned for a machine that wants another's name.
type NameTaken struct {
	Node topics.Node
	ID   topics.MachineID // who has it; "" a user
}

func (e *NameTaken) Error() string {
	if e.ID == "" {
		return fmt.Sprintf("%s is the name of a user of the house (give this machine another: --name; or: dominion user remove %s)", e.Node, e.Node)
	}
	return fmt.Sprintf("%s is the name of another machine of the house (give this one another: --name; or, if that one is gone: dominion forget %s)", e.Node, e.Node)
}

// Admission is what a machine is given when it is let in.
type Admission struct {
	Certificate, Authority []byte // PEM
	Secret                 string
}

// Admit lets a machine in under a name, with the key of its request (PEM), and
// has it in the ledger, on the disk, when it returns. Of a machine that is in
// already the former key counts no more; its secret stays, so that its services
// stay logged in. The error is a *NameTaken when another machine has the name.
func (h *House) Admit(node topics.Node, id topics.MachineID, csrPEM []byte) (Admission, error) {
	if err := checkNode(node); err != nil {
		return Admission{}, err
	}
	if err := checkMachine(id); err != nil {
		return Admission{}, err
	}
	key, err := requested(csrPEM, node)
	if err != nil {
		return Admission{}, err
	}
	raw, err := h.issue(key, string(node), nodeLasts, x509.ExtKeyUsageClientAuth, nil)
	if err != nil {
		return Admission{}, fmt.Errorf("issue a certificate: %w", err)
	}
	kid, err := keyIDOf(key)
	if err != nil {
		return Admission{}, err
	}
	e := entry{ID: id, Key: kid, Secret: rand.Text(), Joined: time.Now().UTC().Truncate(time.Second), Renews: renewal(raw)}
	err = h.ledger.change(func(l *ledger) error {
		for name, there := range l.Nodes {
			if strings.EqualFold(string(name), string(node)) && there.ID != id {
				return &NameTaken{Node: name, ID: there.ID}
			}
		}
		if user, err := h.userLike(string(node)); err != nil {
			return err
		} else if user != "" {
			return &NameTaken{Node: topics.Node(user)}
		}
		if before, ok := l.Nodes[node]; ok {
			e.Secret = before.Secret
		}
		l.Nodes[node] = e
		return nil
	})
	if err != nil {
		return Admission{}, err
	}
	return Admission{Certificate: certificatePEM(raw), Authority: h.AuthorityPEM(), Secret: e.Secret}, nil
}

func checkNode(node topics.Node) error {
	if err := node.Check(); err != nil {
		return err
	}
	switch node {
	case topics.Coordinator, topics.Reader:
		return fmt.Errorf("%s is no name for a machine: it is the house's own", node)
	}
	return nil
}

// longestID bounds what a machine may call itself.
const longestID = 128

func checkMachine(id topics.MachineID) error {
	if id == "" || len(id) > longestID {
		return fmt.Errorf("the machine's id has %d characters (want 1 to %d)", len(id), longestID)
	}
	for _, c := range []byte(id) {
		if c <= ' ' || c > '~' {
			return fmt.Errorf("the machine's id %q has more than letters, digits and signs", id)
		}
	}
	return nil
}

// userLike is the user whose login a node's name would be taken for, if any.
func (h *House) userLike(name string) (string, error) {
	list, err := h.users.read()
	if err != nil {
		return "", err
	}
	for user := range list.Users {
		if strings.EqualFold(user, name) {
			return user, nil
		}
	}
	return "", nil
}

func renewal(raw []byte) time.Time {
	c, err := x509.ParseCertificate(raw)
	if err != nil {
		return time.Time{}
	}
	return c.NotAfter.Add(-c.NotAfter.Sub(c.NotBefore) / 3)
}

// Renew makes a new certificate for who shows leaf, for the key of the request,
// which may be another than before: that one counts no more then. The secret
// stays.
func (h *House) Renew(leaf *x509.Certificate, csrPEM []byte) ([]byte, error) {
	account, err := h.Certificate(leaf)
	if err != nil {
		return nil, err
	}
	node := topics.Node(account.Who.Name)
	key, err := requested(csrPEM, node)
	if err != nil {
		return nil, err
	}
	raw, err := h.issue(key, string(node), nodeLasts, x509.ExtKeyUsageClientAuth, nil)
	if err != nil {
		return nil, fmt.Errorf("issue a certificate: %w", err)
	}
	kid, err := keyIDOf(key)
	if err != nil {
		return nil, err
	}
	err = h.ledger.change(func(l *ledger) error {
		e, ok := l.Nodes[node]
		if !ok || e.Key != account.Key {
			return fmt.Errorf("%s was forgotten", node)
		}
		e.Key, e.Renews = kid, renewal(raw)
		l.Nodes[node] = e
		return nil
	})
	if err != nil {
		return nil, err
	}
	return certificatePEM(raw), nil
}

// Forget takes a node out of the ledger: its certificate and the logins of its
// services are worth nothing from then on. A node that is not there is no error.
func (h *House) Forget(node topics.Node) error {
	return h.ledger.change(func(l *ledger) error {
		delete(l.Nodes, node)
		return nil
	})
}

// Nodes are the machines of the house, by name.
func (h *House) Nodes() []Node {
	l, err := h.ledger.read()
	if err != nil {
		return nil
	}
	var all []Node
	for _, name := range slices.Sorted(maps.Keys(l.Nodes)) {
		e := l.Nodes[name]
		all = append(all, Node{name, e.ID, e.Joined, e.Renews, grouped(e.Key)})
	}
	return all
}

// Certificate tells which node shows a certificate. The TLS handshake has
// proved that it has the key; the ledger says whose that is. No date is looked
// at.
func (h *House) Certificate(leaf *x509.Certificate) (topics.Account, error) {
	if leaf == nil {
		return topics.Account{}, errors.New("it shows no certificate")
	}
	name := topics.Node(leaf.Subject.CommonName)
	if err := leaf.CheckSignatureFrom(h.authority); err != nil {
		return topics.Account{}, fmt.Errorf("its certificate for %.70q was not issued by this house (%s) but by %.70q (%s): join it to this one with dominion invite",
			string(name), h.Fingerprint(), leaf.Issuer.CommonName, issuer(leaf))
	}
	if !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth) {
		return topics.Account{}, fmt.Errorf("its certificate for %.70q is none of a machine that joined", string(name))
	}
	l, err := h.ledger.read()
	if err != nil {
		return topics.Account{}, err
	}
	e, ok := l.Nodes[name]
	switch {
	case !ok:
		return topics.Account{}, fmt.Errorf("%s was forgotten: its certificate counts no more (dominion invite lets it in again)", name)
	case e.Key != keyID(leaf):
		return topics.Account{}, fmt.Errorf("%s has joined again since with another key: this certificate counts no more", name)
	}
	return nodeAccount(name, e), nil
}

func nodeAccount(name topics.Node, e entry) topics.Account {
	return topics.Account{Name: "node " + string(name), Who: topics.Identity{Role: topics.RoleNode, Name: string(name)}, Key: e.Key}
}

// NodeLogin is a node's user name and password at another's broker that has the
// house's users.
func NodeLogin(node topics.Node, secret string) (user, password string) {
	return string(node), derived(secret, "node")
}

// ServiceLogin is the user name and password of one of a node's services.
func ServiceLogin(node topics.Node, secret string, service topics.Service) (user, password string) {
	return string(node) + "." + string(service), derived(secret, "service "+string(service))
}

// derived is a password that whoever has the secret can compute, and that tells
// nothing of the secret or of another: 160 bits.
func derived(secret, purpose string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("dominion login 1\x00" + purpose))
	return strings.ToLower(base32.StdEncoding.EncodeToString(mac.Sum(nil)[:20]))
}
