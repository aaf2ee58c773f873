package client

import (
	"errors"
	"fmt"
	"net"

	"github.com/eclipse/paho.mqtt.golang/packets"
)

// joins is how a machine gets a login.
const joins = "dominion invite there, domain join CODE here"

// explain says in plain words why the broker did not let us in.
func (c *Client) explain(err error) error {
	if err == nil {
		return nil
	}
	var own *dialError
	var handshake *handshakeError
	var network *net.OpError
	switch {
	case errors.As(err, &own) && !errors.As(err, &network):
		return own.err
	case errors.As(err, &handshake):
		return c.explainTLS(handshake.err)
	case errors.Is(err, packets.ErrorRefusedBadUsernameOrPassword), errors.Is(err, packets.ErrorRefusedNotAuthorised):
		return c.explainLogin()
	case errors.Is(err, packets.ErrorRefusedIDRejected):
		return fmt.Errorf("the broker at %s refused the client id %q: another client has it, or it is not allowed there; if nobody has, choose a shorter base and name", c.broker, c.clientID)
	case errors.Is(err, packets.ErrorRefusedBadProtocolVersion):
		return fmt.Errorf("the broker at %s does not speak MQTT 3.1.1: enable it there", c.broker)
	case errors.Is(err, packets.ErrorRefusedServerUnavailable):
		return fmt.Errorf("the broker at %s says it is unavailable (ours also after many wrong passwords from one address): look at its log", c.broker)
	case errors.Is(err, errTLS):
		return fmt.Errorf("TLS is spoken at %s: write mqtts://%s", c.broker, c.broker)
	case errors.Is(err, errSilent):
		return c.explainSilence()
	case errors.As(err, &network) && network.Op == "dial":
		return fmt.Errorf("no broker answers at %s (%w): is it running, and is that its address?", c.broker, plain(err))
	case errors.As(err, &network) && network.Op == "remote error": // TLS 1.3 judges our certificate late
		return c.explainTLS(err)
	}
	return fmt.Errorf("connect to the broker at %s: %w", c.broker, plain(err))
}

func (c *Client) explainLogin() error {
	const refused = "the broker at %s refused the login "
	switch {
	case c.showsCertificate():
		return fmt.Errorf(refused+"(by this machine's certificate): if its house has forgotten this machine, join it again (%s)", c.broker, joins)
	case c.broker.user != "":
		return fmt.Errorf(refused+"(as user %q): check user and password in mqtt://user:password@host, and the broker's access rules", c.broker, c.broker.user)
	}
	return fmt.Errorf(refused+"(no login was given): a machine gets one by joining the house (%s), others write mqtt://user:password@host", c.broker, joins)
}

func (c *Client) explainSilence() error {
	if c.broker.secure || c.Dial != nil {
		return fmt.Errorf("the broker at %s ended the connection before it answered: look at its log", c.broker)
	}
	return fmt.Errorf("the broker at %s ended the connection before it answered: if TLS is spoken there, write mqtts://%s", c.broker, c.broker)
}

// plain takes the addresses out of a network error: with their changing ports
// the same trouble would look new each time.
func plain(err error) error {
	var network *net.OpError
	if errors.As(err, &network) {
		return network.Err
	}
	return err
}
