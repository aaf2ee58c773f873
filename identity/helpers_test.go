package identity_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"testing"

	"dominion/identity"
	"dominion/topics"
)

func request(t *testing.T, key []byte, node topics.Node) []byte {
	t.Helper()
	csr, err := identity.Request(key, node)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

func named(list ...string) func() []string { return func() []string { return list } }

// met is what both sides of a TLS connection saw.
type met struct {
	server, client       tls.ConnectionState
	serverErr, clientErr error
}

// shake connects a client to a server, and passes a byte each way, so that
// tickets and late refusals arrive too.
func shake(t *testing.T, server, client *tls.Config) met {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dialled, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return converse(tls.Server(accepted, server), tls.Client(dialled, client))
}

func converse(server, client *tls.Conn) (m met) {
	served := make(chan struct{})
	go func() {
		defer close(served)
		defer server.Close()
		_, m.serverErr = io.ReadFull(server, make([]byte, 1))
		if m.serverErr == nil {
			_, m.serverErr = server.Write([]byte{2})
		}
		m.server = server.ConnectionState()
	}()
	_, m.clientErr = client.Write([]byte{1})
	if m.clientErr == nil {
		_, m.clientErr = io.ReadFull(client, make([]byte, 1))
	}
	m.client = client.ConnectionState()
	client.Close()
	<-served
	return m
}

// shown is the certificate by which the server knows its client.
func (m met) shown(t *testing.T) *x509.Certificate {
	t.Helper()
	if m.serverErr != nil || m.clientErr != nil {
		t.Fatalf("no connection: server: %v, client: %v", m.serverErr, m.clientErr)
	}
	if len(m.server.PeerCertificates) == 0 {
		t.Fatal("the client showed no certificate")
	}
	return m.server.PeerCertificates[0]
}
