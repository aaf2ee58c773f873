package identity

import (
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A password is kept as mosquitto 2 keeps one: $7$iterations$salt$hash, salt and
// hash in base64, PBKDF2 with HMAC-SHA512 (mosquitto's man page
// mosquitto_passwd, and RFC 8018).
const (
	iterations        = 20_000 // 30 to 60 ms on a server's core, some tenths of a second on a Pi 3
	machineIterations = 101    // mosquitto's own default; for passwords of 160 bits
	mostIterations    = 10_000_000
	saltLength        = 12
	hashLength        = 64
)

type hashed struct {
	iterations int
	salt, hash []byte
}

func (p hashed) String() string {
	return fmt.Sprintf("$7$%d$%s$%s", p.iterations, base64.StdEncoding.EncodeToString(p.salt), base64.StdEncoding.EncodeToString(p.hash))
}

func hashPassword(password string) (string, error) {
	salt := make([]byte, saltLength)
	rand.Read(salt) // never fails
	return hashWith(password, salt, iterations)
}

// nobodysHash is a hash that no password has, but that takes as long to compare.
func nobodysHash() string {
	salt, hash := make([]byte, saltLength), make([]byte, hashLength)
	rand.Read(salt) // never fails
	rand.Read(hash)
	return hashed{iterations, salt, hash}.String()
}

// hashMachine hashes a password that we made. Its salt is a hash too, so that
// the same logins are always written as the same lines; nobody can search for
// one of 160 bits, salt or not.
func hashMachine(password string) string {
	sum := sha256.Sum256([]byte("dominion salt 1\x00" + password))
	text, _ := hashWith(password, sum[:saltLength], machineIterations)
	return text
}

func hashWith(password string, salt []byte, iterations int) (string, error) {
	hash, err := pbkdf2.Key(sha512.New, password, salt, iterations, hashLength)
	if err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	return hashed{iterations, salt, hash}.String(), nil
}

func parseHash(text string) (hashed, error) {
	bad := errors.New("its password's hash is not of the form $7$iterations$salt$hash")
	parts := strings.Split(text, "$")
	if len(parts) != 5 || parts[0] != "" || parts[1] != "7" {
		return hashed{}, bad
	}
	n, err := strconv.Atoi(parts[2])
	if err != nil || n < 1 || n > mostIterations {
		return hashed{}, bad
	}
	salt, errSalt := base64.StdEncoding.DecodeString(parts[3])
	hash, errHash := base64.StdEncoding.DecodeString(parts[4])
	if errSalt != nil || errHash != nil || len(salt) == 0 || len(hash) != hashLength {
		return hashed{}, bad
	}
	return hashed{n, salt, hash}, nil
}

func verify(hash, password string) bool {
	p, err := parseHash(hash)
	if err != nil {
		return false
	}
	got, err := pbkdf2.Key(sha512.New, password, p.salt, p.iterations, hashLength)
	return err == nil && subtle.ConstantTimeCompare(got, p.hash) == 1
}
