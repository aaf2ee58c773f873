package joining

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
)

// requestKey is the SHA-256 of the public key that a certificate request (PEM)
// is for, in hex, once it is known that its sender has the private one.
func requestKey(request string) (string, error) {
	parsed, err := parseRequest(request)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(parsed.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:]), nil
}

func parseRequest(request string) (*x509.CertificateRequest, error) {
	block, _ := pem.Decode([]byte(request))
	if block == nil {
		return nil, errors.New("the request is no PEM")
	}
	parsed, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the request: %w", err)
	}
	if err := parsed.CheckSignature(); err != nil {
		return nil, fmt.Errorf("the request: %w", err)
	}
	return parsed, nil
}

func parseCertificate(text string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("no PEM")
	}
	return x509.ParseCertificate(block.Bytes)
}

// checkCertificate tells whether a certificate is for the key of a request, and
// issued by an authority. Dates are not looked at.
func checkCertificate(certificate, authority, request string) error {
	own, err := parseCertificate(certificate)
	if err != nil {
		return fmt.Errorf("the certificate: %w", err)
	}
	issuer, err := parseCertificate(authority)
	if err != nil {
		return fmt.Errorf("the authority's certificate: %w", err)
	}
	if err := own.CheckSignatureFrom(issuer); err != nil {
		return fmt.Errorf("the certificate is not of its authority: %w", err)
	}
	asked, err := parseRequest(request)
	if err != nil {
		return err
	}
	if !bytes.Equal(own.RawSubjectPublicKeyInfo, asked.RawSubjectPublicKeyInfo) {
		return errors.New("the certificate is for another key")
	}
	return nil
}
