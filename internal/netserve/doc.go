// Package netserve is the server side of network connections, independent of the protocol on
// them.
//
// It listens on TCP and on Unix sockets that only their owner can use; reloads certificates
// when their files change; sends several writes as one packet; and detects peers that have
// disappeared, or have read everything that was written to them. HTTP and MCP are left to its
// users.
package netserve
