package client

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
)

// address is where a broker listens, and the login.
type address struct {
	host           string // host:port
	secure         bool   // over TLS
	user, password string
}

const wantAddress = "want mqtt://host:1883, over TLS mqtts://host:8883, with a login mqtt://user:password@host:1883"

// parseAddress reads a broker's URL. Its errors never show the password.
func parseAddress(text string) (address, error) {
	if text == "" {
		return address{}, errors.New("no broker is named (" + wantAddress + ")")
	}
	u, err := url.Parse(text)
	if err != nil {
		return address{}, errors.New("the broker's address cannot be read (" + wantAddress +
			"; write other characters of a password as %XX)")
	}
	port, known := usualPort(u.Scheme)
	switch {
	case !known || u.Hostname() == "":
		return address{}, fmt.Errorf("broker %s is no MQTT address (%s)", u.Redacted(), wantAddress)
	case u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return address{}, fmt.Errorf("broker %s has more than a host and a port (%s)", u.Redacted(), wantAddress)
	}
	secure := port == securePort
	if u.Port() != "" {
		port = u.Port()
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return address{}, fmt.Errorf("broker %s: there is no port %s (%s)", u.Redacted(), port, wantAddress)
	}
	password, _ := u.User.Password()
	if password != "" && u.User.Username() == "" {
		return address{}, fmt.Errorf("broker %s has a password without a user (%s)", u.Host, wantAddress)
	}
	return address{net.JoinHostPort(u.Hostname(), port), secure, u.User.Username(), password}, nil
}

// HostPort is where the broker of a URL listens, host:port, or why a client
// cannot be told that URL.
func HostPort(broker string) (string, error) {
	a, err := parseAddress(broker)
	return a.host, err
}

const plainPort, securePort = "1883", "8883"

// usualPort is that of a scheme we speak.
func usualPort(scheme string) (port string, known bool) {
	switch scheme {
	case "mqtt", "tcp":
		return plainPort, true
	case "mqtts", "ssl", "tls":
		return securePort, true
	}
	return "", false
}

// String is for logs and errors: no login.
func (a address) String() string {
	if a.host == "" {
		return "embedded"
	}
	return a.host
}
