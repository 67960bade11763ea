package server

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/mark3labs/mcp-go/mcp"
)

// Headers of the protocol, as they are spelled in its text.
const (
	headerVersion = "MCP-Protocol-Version"
	headerSession = "Mcp-Session-Id"
)

// isModern reports whether a version of the protocol is without sessions.
func isModern(version string) bool { return mcp.IsModernProtocol(version) }

// params returns the params of a message, and the version of the protocol that
// they name, or "". It fails if the message is not a JSON object.
func params(message []byte) (raw json.RawMessage, version string, err error) {
	var m struct{ Params json.RawMessage }
	if err := json.Unmarshal(message, &m); err != nil {
		return nil, "", err
	}
	var p struct {
		Meta struct {
			Version string `json:"io.modelcontextprotocol/protocolVersion"`
		} `json:"_meta"`
	}
	_ = json.Unmarshal(m.Params, &p) // there may be none, or of another shape: then they name none
	return m.Params, p.Meta.Version, nil
}

// checkModern holds the headers of a request against what it says itself, as the
// protocol since 2026-07-28 demands for the sake of those who only see the headers.
func (s *Server) checkModern(header http.Header, m incoming, raw json.RawMessage, version string) *mcp.JSONRPCError {
	refuse := func(code int, format string, args ...any) *mcp.JSONRPCError {
		e := rpcError(m.id, code, fmt.Sprintf(format, args...), nil)
		return &e
	}
	inHeader := header.Get(headerVersion)
	switch {
	case header.Get(mcp.HeaderLastEventID) != "":
		return refuse(mcp.HEADER_MISMATCH, "streams cannot be resumed: send the request again, with another id and without Last-Event-ID")
	case inHeader == "":
		return refuse(mcp.HEADER_MISMATCH, "the header %s is missing", headerVersion)
	case version == "":
		return refuse(mcp.INVALID_PARAMS, "missing or invalid _meta field %s", mcp.MetaKeyProtocolVersion)
	case inHeader != version:
		return refuse(mcp.HEADER_MISMATCH, "the header %s says %.64q, the request %.64q", headerVersion, inHeader, version)
	case !mcp.IsValidProtocolVersion(version):
		return nil // the answer tells which ones are
	}
	if err := mcp.ValidateStandardHeaders(header.Get, version, mcp.MCPMethod(m.method), raw); err != nil {
		return refuse(mcp.HEADER_MISMATCH, "%v", err)
	}
	if err := s.checkParamHeaders(header, m, raw); err != nil {
		return refuse(mcp.HEADER_MISMATCH, "%v", err)
	}
	return nil
}

// checkParamHeaders checks the headers that mirror arguments of a tool.
func (s *Server) checkParamHeaders(header http.Header, m incoming, raw json.RawMessage) error {
	if len(s.mirrored) == 0 || m.method != string(mcp.MethodToolsCall) {
		return nil
	}
	name, _ := mcp.ExtractHeaderName(mcp.MethodToolsCall, raw)
	raw, _, _ = params(m.line) // with the arguments
	return mcp.ValidateParamHeadersLookup(func(key string) (value string, ok bool) {
		values := header.Values(key)
		if len(values) == 0 {
			return "", false
		}
		return values[0], true
	}, s.mirrored[name], raw)
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
