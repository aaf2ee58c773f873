// Package journal keeps what services print: a file for each, bounded in size
// and in number, and all together in bytes. A service writes into its file
// itself, so it goes on when nobody keeps the journal; whoever keeps it (Run)
// moves away what has grown too long, and hands new lines to those who follow.
package journal
