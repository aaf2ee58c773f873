// Package verify is the conformance kit: it plays the leader to a node and
// tells what that one does right and wrong, with the paragraph of
// docs/protocol.md that says so.
//
// What was seen is a list of Events; Judge, which is pure, makes findings of
// it. House is where a node is looked at that shows everything: a listener in
// front of a broker of its own, which reads each packet as it is sent. Guest
// looks at a node in a house that somebody else leads, as far as one sees there
// and without harm.
package verify
