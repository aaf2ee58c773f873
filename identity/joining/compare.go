package joining

import (
	"crypto/ecdh"
	"crypto/sha256"

	"dominion/topics"
)

// What both sides of the window compute of what was sent.

// opening is what a newcomer commits to first and reveals later.
type opening struct {
	node    topics.Node
	id      topics.MachineID
	nonce   []byte
	key     []byte // X25519
	request string // PEM
}

func (o opening) commitment() []byte {
	sum := sha256.Sum256(lvCat([]byte("dominion window 1 commitment"), []byte(o.node), []byte(o.id), o.nonce, o.key, []byte(o.request)))
	return sum[:]
}

// transcript is all that either side sent: its hash makes the words, and salts
// the key of the answer.
func transcript(house helloAnswer, newcomer opening, leader askAnswer) []byte {
	return lvCat([]byte("dominion window 1"), []byte(house.House), []byte(house.Name),
		[]byte(leader.Session), newcomer.commitment(), leader.Nonce, leader.Key,
		[]byte(newcomer.node), []byte(newcomer.id), newcomer.nonce, newcomer.key, []byte(newcomer.request))
}

// agree is the secret of two keys (X25519). Weak keys are an error.
func agree(own *ecdh.PrivateKey, peer []byte) ([]byte, error) {
	key, err := ecdh.X25519().NewPublicKey(peer)
	if err != nil {
		return nil, err
	}
	return own.ECDH(key)
}
