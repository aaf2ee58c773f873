package joining

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha512"
)

// What keys are for: each seals one message.
const (
	requestBox = "dominion join 1 request"
	answerBox  = "dominion join 1 answer"
	windowBox  = "dominion window 1 answer"
)

// seal encrypts the one message that a key for a purpose ever seals, and which
// belongs to a session (AES-256-GCM; HKDF-SHA512 makes a key for each purpose,
// so that the nonce may be constant).
func seal(secret, salt []byte, purpose, session string, plain []byte) ([]byte, error) {
	box, err := newBox(secret, salt, purpose)
	if err != nil {
		return nil, err
	}
	return box.Seal(nil, make([]byte, box.NonceSize()), plain, []byte(session)), nil
}

func unseal(secret, salt []byte, purpose, session string, sealed []byte) ([]byte, error) {
	box, err := newBox(secret, salt, purpose)
	if err != nil {
		return nil, err
	}
	return box.Open(nil, make([]byte, box.NonceSize()), sealed, []byte(session))
}

func newBox(secret, salt []byte, purpose string) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha512.New, secret, salt, purpose, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
