package server

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	"github.com/mark3labs/mcp-go/mcp"
)

// Headers of the protocol, as they are spelled in its text.
const (
	headerVersion = "MCP-Protocol-Version"
	headerSession = "Mcp-Session-Id"
)

// revisions are those of the protocol that the server offers, the newest first: all but
// 2025-03-26, the only one that demands that batches of messages are taken. A client that
// asks for that one gets the one before, which every such client speaks too, while few of
// them know a later one.
var revisions = slices.DeleteFunc(slices.Clone(mcp.ValidProtocolVersions), func(version string) bool { return version == withBatches })

const withBatches, beforeBatches = mcp.ProtocolVersion20250326, mcp.ProtocolVersion20241105

// legacyRevisions are those of the revisions that begin with initialize.
func legacyRevisions() []string { return slices.DeleteFunc(slices.Clone(revisions), isModern) }

// isModern reports whether a protocol version has no sessions.
func isModern(version string) bool { return mcp.IsModernProtocol(version) }

// params are those of a message, as far as the server itself goes by them.
type params struct {
	raw     json.RawMessage
	version string // of the protocol, since 2026-07-28; else ""

	// client is the name that a client gives itself, if it does: since 2026-07-28 with
	// each request, before that with initialize.
	client string
}

// readParams fails if a message is not a JSON object. Params may be missing or of
// another shape: then they say nothing.
func readParams(message []byte) (params, error) {
	var m struct{ Params json.RawMessage }
	if err := json.Unmarshal(message, &m); err != nil {
		return params{}, err
	}
	type info struct {
		Name string `json:"name"`
	}
	var p struct {
		Client info `json:"clientInfo"`
		Meta   struct {
			Version string `json:"io.modelcontextprotocol/protocolVersion"`
			Client  info   `json:"io.modelcontextprotocol/clientInfo"`
		} `json:"_meta"`
	}
	_ = json.Unmarshal(m.Params, &p)
	return params{m.Params, p.Meta.Version, cmp.Or(p.Meta.Client.Name, p.Client.Name)}, nil
}

// checkModern compares the headers of a request with its body. The protocol since 2026-07-28
// demands that they match, because proxies may act on the headers alone.
func (s *Server) checkModern(header http.Header, m incoming, p params) *mcp.JSONRPCError {
	refuse := func(code int, format string, args ...any) *mcp.JSONRPCError {
		e := rpcError(m.ID, code, fmt.Sprintf(format, args...), nil)
		return &e
	}
	inHeader := header.Get(headerVersion)
	switch {
	case header.Get(mcp.HeaderLastEventID) != "":
		return refuse(mcp.HEADER_MISMATCH, "streams cannot be resumed: send the request again, with another id and without Last-Event-ID")
	case inHeader == "":
		return refuse(mcp.HEADER_MISMATCH, "the header %s is missing", headerVersion)
	case p.version == "":
		return refuse(mcp.INVALID_PARAMS, "missing or invalid _meta field %s", mcp.MetaKeyProtocolVersion)
	case inHeader != p.version:
		return refuse(mcp.HEADER_MISMATCH, "the header %s says %.64q, the request %.64q", headerVersion, inHeader, p.version)
	case !mcp.IsValidProtocolVersion(p.version):
		return nil // the answer tells which ones are
	}
	if err := mcp.ValidateStandardHeaders(header.Get, p.version, mcp.MCPMethod(m.Method), p.raw); err != nil {
		return refuse(mcp.HEADER_MISMATCH, "%v", err)
	}
	if err := s.checkTaskHeader(header, m, p); err != nil {
		return refuse(mcp.HEADER_MISMATCH, "%v", err)
	}
	if err := s.checkParamHeaders(header, m, p); err != nil {
		return refuse(mcp.HEADER_MISMATCH, "%v", err)
	}
	return nil
}

// checkParamHeaders checks the headers that mirror arguments of a tool.
func (s *Server) checkParamHeaders(header http.Header, m incoming, p params) error {
	if len(s.mirrored) == 0 || m.Method != string(mcp.MethodToolsCall) {
		return nil
	}
	name, _ := mcp.ExtractHeaderName(mcp.MethodToolsCall, p.raw)
	p, _ = readParams(m.Line) // with the arguments
	return mcp.ValidateParamHeadersLookup(func(key string) (value string, ok bool) {
		values := header.Values(key)
		if len(values) == 0 {
			return "", false
		}
		return values[0], true
	}, s.mirrored[name], p.raw)
}

// modernStatus is the HTTP status that the protocol has for an error code.
func modernStatus(code int) int {
	switch code {
	case mcp.METHOD_NOT_FOUND:
		return http.StatusNotFound
	case mcp.HEADER_MISMATCH, mcp.MISSING_REQUIRED_CLIENT_CAPABILITY, mcp.UNSUPPORTED_PROTOCOL_VERSION,
		mcp.INVALID_REQUEST, mcp.INVALID_PARAMS, mcp.PARSE_ERROR:
		return http.StatusBadRequest
	}
	return http.StatusOK
}
