package whereabouts

import (
	"net/url"

	"dominion/device"
	"dominion/identity"
	"dominion/topics"
)

// Login is what a node says at CONNECT; nil at a broker that knows it by its
// certificate, or that knows nobody.
func Login(m *identity.Membership) *url.Userinfo {
	switch {
	case Vouched(m):
		return nil
	case m.Logins == identity.LoginsOwn:
		return url.UserPassword(identity.NodeLogin(m.Node, m.Secret))
	case m.Username == "":
		return nil
	}
	return url.UserPassword(m.Username, m.Password)
}

// Access is how a service of a member reaches the broker, which is at address
// (host:port) now. It has a login of its own, where the broker knows such, else
// none: never the agent's. Authority is the path of the house's certificate.
func Access(m *identity.Membership, address, authority string, service topics.Service) device.Access {
	u, err := url.Parse(m.Broker)
	if err != nil {
		return device.Access{}
	}
	u.User = nil
	if address != "" {
		u.Host = address
	}
	var a device.Access
	if Vouched(m) {
		a.CA = authority
	}
	if a.CA != "" || m.Logins == identity.LoginsOwn {
		u.User = url.UserPassword(identity.ServiceLogin(m.Node, m.Secret, service))
	}
	a.URL = u.String()
	return a
}
