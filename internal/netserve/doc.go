// Package netserve is the server's side of connections, whatever is spoken over them: it
// listens, without ever letting others at a socket of Unix; takes certificates that change;
// sends in one piece what is written in several; and notices peers that are gone, or have
// read what was written.
package netserve
