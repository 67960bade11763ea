package server

import (
	"crypto/sha256"
	"encoding/hex"

	"ollama-mcp/internal/jobs"
)

// JobOwner is who may ask for the jobs of the request: the caller who has authenticated, the
// user of the process on stdio, or else the session, and whoever cannot be told from the client.
func (r *request) JobOwner() jobs.Owner {
	switch {
	case r.transport == overStdio:
		return jobs.Owner{Account: "stdio", Private: true}
	case r.from.Tenant != "":
		return jobs.Owner{Account: "key " + r.from.Tenant, Private: true}
	}
	session := sha256.Sum256([]byte(r.sessionID))
	return jobs.Owner{Account: "client " + r.from.ID, Session: hex.EncodeToString(session[:]), Private: r.from.Admin}
}

// TakesTasks reports whether the client knows the protocol's tasks.
func (r *request) TakesTasks() bool { return false }
