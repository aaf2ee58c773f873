// Package load puts work on an MQTT broker on this machine and measures how it
// is done. It speaks just enough MQTT 3.1.1 to be cheap beside the broker that
// it measures. All work is bounded in count and time, and only loopback
// addresses are loaded.
package load
