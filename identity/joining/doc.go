// Package joining is how a machine comes into a house: the door at the leader's
// HTTPS port, and the machine's side of it. A machine brings a code that was
// read off the leader's screen (Join), or asks while the owner holds a window
// open and compares four words (Ask); what it goes away with is a complete
// identity.Membership or an error, never anything between. The protocol is
// docs/joining.md, the reasons docs/decisions/0005-who-belongs-to-a-house.md.
package joining
