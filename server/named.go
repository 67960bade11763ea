package server

import (
	"crypto/rand"
	"net/http"
	"strings"
)

// Headers by which clients, and proxies on the way, name a request, so that what is
// logged of it in several places can be found together.
const (
	headerRequestID = "X-Request-Id"
	headerTrace     = "Traceparent" // W3C Trace Context
)

// nameRequest gives a request an id of ours, unless it has one that may go into logs, and
// tells the client.
func nameRequest(w http.ResponseWriter, req *http.Request) {
	id := req.Header.Get(headerRequestID)
	if !isPlainID(id) {
		id = rand.Text()[:16]
	}
	req.Header.Set(headerRequestID, id)
	w.Header().Set(headerRequestID, id)
}

// isPlainID reports whether an id is of a size and letters that hide nothing in a log.
func isPlainID(id string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:/+="
	return id != "" && len(id) <= 128 && strings.Trim(id, letters) == ""
}

// namesOf are those headers of a request by which tools may log it; its others are none
// of their business.
func namesOf(header http.Header) http.Header {
	return http.Header{headerRequestID: header[headerRequestID], headerTrace: header[headerTrace]}
}
