package server

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/lru"
)

// client is what a session of a protocol before 2026-07-28 over streamable HTTP has in flight.
type client struct {
	session *session
	inflight

	busy int // requests and notifications that hold it; belongs to sessions
}

// sessions are those of clients of protocols before 2026-07-28 over streamable HTTP. A session
// id holds what the client said of itself, and a signature. So it need not be remembered:
// every server with the same key takes it, after a restart and after a DELETE too. Many
// clients never initialize again, and a load balancer may send each request to another server.
// Only what is in flight is known to one server alone.
type sessions struct {
	key []byte

	// mu guards what follows; nothing blocks under it.
	mu     sync.Mutex
	active map[string]*client                // by session id; those that are held
	levels lru.Map[string, mcp.LoggingLevel] // that clients have set, by session id
}

// maxLevels is for how many sessions a log level is remembered.
const maxLevels = 1000

// identity is what a session id says.
type identity struct {
	Nonce        string                 `json:"r"` // makes the id unique
	Name         string                 `json:"n,omitempty"`
	Version      string                 `json:"v,omitempty"`
	Protocol     string                 `json:"p"`
	Capabilities mcp.ClientCapabilities `json:"c"`
}

// issue makes the id of a session that has been initialized, for its owner alone.
func (s *sessions) issue(of *session, owner caller.Caller) string {
	client := of.GetClientInfo()
	said, _ := json.Marshal(identity{ // cannot fail: it came from JSON
		Nonce: rand.Text(), Name: client.Name, Version: client.Version,
		Protocol: of.ProtocolVersion(), Capabilities: of.GetClientCapabilities(),
	})
	text := base64.RawURLEncoding.EncodeToString(said)
	return text + "." + s.sign(text, owner)
}

// sign signs what an id says. The owner is part of what is signed, but not of the id: for all
// others the id is as good as forged. Callers without credentials have no tenant: the session
// id is their secret, and their addresses may change on the way.
func (s *sessions) sign(text string, owner caller.Caller) string {
	mac := hmac.New(sha256.New, s.key)
	fmt.Fprintf(mac, "session of %q: %s", owner.Tenant, text)
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// open rebuilds a session from its id, unless the id is forged or another caller's.
func (s *sessions) open(id string, owner caller.Caller) (*session, bool) {
	text, signature, _ := strings.Cut(id, ".")
	if !hmac.Equal([]byte(signature), []byte(s.sign(text, owner))) {
		return nil, false
	}
	said, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, false
	}
	var is identity
	if json.Unmarshal(said, &is) != nil {
		return nil, false
	}
	return &session{
		sessionID: id, initialized: true, level: mcp.LoggingLevelError, version: is.Protocol,
		client: mcp.Implementation{Name: is.Name, Version: is.Version}, capabilities: is.Capabilities,
	}, true
}

// hold finds what a session has in flight, and keeps it until it is released.
func (s *sessions) hold(id string, owner caller.Caller) (c *client, ok bool) {
	opened, ok := s.open(id, owner)
	if !ok {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok = s.active[id]
	if !ok {
		c = &client{session: opened}
		if level, ok := s.levels.Get(id); ok {
			opened.level = level
		}
		if s.active == nil {
			s.active = make(map[string]*client)
		}
		s.active[id] = c
	}
	c.busy++
	return c, true
}

func (s *sessions) release(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.busy--; c.busy > 0 {
		return
	}
	delete(s.active, c.session.sessionID)
	if level := c.session.GetLogLevel(); level != mcp.LoggingLevelError {
		s.levels.Set(c.session.sessionID, level, maxLevels)
	}
}

// end ends the requests of a session that this server has in flight. The session id stays
// valid: some clients delete a session and then go on with it.
func (s *sessions) end(id string, owner caller.Caller) bool {
	if _, ok := s.open(id, owner); !ok {
		return false
	}
	s.mu.Lock()
	c := s.active[id]
	s.mu.Unlock()
	if c != nil {
		c.endAll(ErrClientGone)
	}
	return true
}

// deleteSession serves DELETE /mcp: a client says that it is done.
func (x *exchange) deleteSession() {
	if isModern(x.req.Header.Get(headerVersion)) {
		x.w.Header().Set("Allow", http.MethodPost)
		x.refuseRequest(ReasonProtocol, http.StatusMethodNotAllowed, "there are no sessions since protocol version 2026-07-28")
		return
	}
	id := x.req.Header.Get(headerSession)
	switch {
	case id == "":
		x.refuseRequest(ReasonSession, http.StatusBadRequest, "the header "+headerSession+" is missing")
	case !x.sessions.end(id, x.from):
		x.refuseRequest(ReasonSession, http.StatusNotFound, "there is no such session")
	default:
		x.w.WriteHeader(http.StatusNoContent)
	}
}

// session is what a client has said about itself.
type session struct {
	sessionID string

	// mu guards what follows; nothing is called under it.
	mu           sync.Mutex
	initialized  bool
	client       mcp.Implementation
	capabilities mcp.ClientCapabilities
	version      string // of the protocol, as negotiated; "" if it was not
	level        mcp.LoggingLevel

	questions questions // that requests of this client have asked it
}

func newSession() *session {
	return &session{sessionID: rand.Text(), level: mcp.LoggingLevelError}
}

func (s *session) SessionID() string { return s.sessionID }
func (s *session) Initialize()       { set(s, &s.initialized, true) }
func (s *session) Initialized() bool { return get(s, &s.initialized) }

func (s *session) SetLogLevel(level mcp.LoggingLevel) { set(s, &s.level, level) }
func (s *session) GetLogLevel() mcp.LoggingLevel      { return get(s, &s.level) }

// SetClientInfo keeps the name and version of a client, each cut to a usual size. The rest,
// such as icons, may be as large as a message and is not needed.
func (s *session) SetClientInfo(client mcp.Implementation) {
	set(s, &s.client, mcp.Implementation{Name: cut(client.Name), Version: cut(client.Version)})
}
func (s *session) GetClientInfo() mcp.Implementation { return get(s, &s.client) }

// SetClientCapabilities keeps the capabilities that the server uses. Others may be of any
// size.
func (s *session) SetClientCapabilities(c mcp.ClientCapabilities) {
	set(s, &s.capabilities, mcp.ClientCapabilities{Elicitation: c.Elicitation, Sampling: c.Sampling, Roots: c.Roots})
}
func (s *session) GetClientCapabilities() mcp.ClientCapabilities { return get(s, &s.capabilities) }

func (s *session) SetProtocolVersion(version string) { set(s, &s.version, version) }
func (s *session) ProtocolVersion() string           { return get(s, &s.version) }

// cut copies the beginning of a text, so that the rest can be freed.
func cut(text string) string {
	const most = 100 // bytes; a session id has several such texts, and is a header of each request
	return strings.ToValidUTF8(strings.Clone(text[:min(len(text), most)]), "")
}

func set[T any](s *session, field *T, value T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*field = value
}

func get[T any](s *session, field *T) T {
	s.mu.Lock()
	defer s.mu.Unlock()
	return *field
}

// What mcp-go looks for in the session of a request.
var (
	_ mcpserver.SessionWithLogging         = (*request)(nil)
	_ mcpserver.SessionWithClientInfo      = (*request)(nil)
	_ mcpserver.SessionWithProtocolVersion = (*request)(nil)
)
