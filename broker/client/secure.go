package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"
)

// open connects to the broker, and over TLS finds out that it is the right one.
// Sessions of TLS are not resumed: one would go on showing the certificate that
// it began with, after that was renewed.
func (c *Client) open(ctx context.Context) (net.Conn, error) {
	if c.Dial != nil {
		conn, err := c.Dial(ctx)
		if err != nil {
			return nil, &dialError{err}
		}
		return conn, nil
	}
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", c.broker.host)
	if err != nil || !c.broker.secure {
		return conn, err
	}
	secure := tls.Client(conn, c.tlsConfig())
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, &handshakeError{err}
	}
	return secure, nil
}

func (c *Client) tlsConfig() *tls.Config {
	config := c.TLS.Clone() // of nil: nil
	if config == nil {
		config = &tls.Config{}
	}
	if config.ServerName == "" {
		config.ServerName, _, _ = net.SplitHostPort(c.broker.host)
	}
	return config
}

// showsCertificate tells whether the broker is to know us by one.
func (c *Client) showsCertificate() bool {
	if c.Dial != nil {
		return c.broker.secure && c.broker.user == ""
	}
	return c.broker.secure && c.TLS != nil && (len(c.TLS.Certificates) > 0 || c.TLS.GetClientCertificate != nil)
}

// dialError is what Options.Dial says.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// handshakeError is why there is no TLS, from the library.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return "TLS: " + e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

// explainTLS says in plain words why there is no TLS. What it says does not
// change from one try to the next.
func (c *Client) explainTLS(err error) error {
	var (
		unknown x509.UnknownAuthorityError
		name    x509.HostnameError
		invalid x509.CertificateInvalidError
		header  tls.RecordHeaderError
		remote  *net.OpError
	)
	at := c.broker.host
	switch {
	case errors.As(err, &unknown):
		return fmt.Errorf("the certificate of the broker at %s was issued by %s, which this machine does not trust: add that authority to this machine's, or join the house (dominion invite there, domain join CODE here)", at, issuer(unknown.Cert))
	case errors.As(err, &name):
		return fmt.Errorf("the certificate of the broker at %s is for %s: write one of these in its address", at, names(name.Certificate))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("the certificate of the broker at %s %s", at, outOfTime(invalid.Cert, time.Now()))
	case errors.As(err, &header):
		return fmt.Errorf("no TLS is spoken at %s: is it the broker's plain port? Then write mqtt://%s", at, at)
	case errors.As(err, &remote) && remote.Op == "remote error":
		return fmt.Errorf("the broker at %s refused the TLS handshake (%w): does it want a certificate of its own house?", at, remote.Err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("the broker at %s did not finish the TLS handshake within %s: is it its TLS port?", at, connectTime)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("the broker at %s ended the connection in the TLS handshake: is it its plain port? Then write mqtt://%s", at, at)
	}
	return fmt.Errorf("the broker at %s: %w", at, plain(err))
}

func issuer(c *x509.Certificate) string {
	if c == nil || c.Issuer.String() == "" {
		return "an authority without a name"
	}
	return fmt.Sprintf("%q", c.Issuer.String())
}

// names are what a certificate is for.
func names(c *x509.Certificate) string {
	all := c.DNSNames
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return "no host at all"
	}
	const most = 6
	if len(all) > most {
		all = append(all[:most:most], "…")
	}
	return strings.Join(all, ", ")
}

// outOfTime says how the dates of a certificate and the clock disagree.
func outOfTime(c *x509.Certificate, now time.Time) string {
	const day = time.DateOnly
	if now.Before(c.NotBefore) {
		return fmt.Sprintf("is valid from %s, and the clock of this machine says %s: set the clock", c.NotBefore.Format(day), now.Format(day))
	}
	return fmt.Sprintf("ended on %s, and the clock of this machine says %s: renew it there, or set the clock", c.NotAfter.Format(day), now.Format(day))
}
