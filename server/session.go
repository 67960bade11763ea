package server

import (
	"crypto/rand"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"
)

// session is what is known of the client at the other end of a connection.
type session struct {
	sessionID   string
	initialized atomic.Bool

	// mu guards what follows; nothing is called under it.
	mu           sync.Mutex
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
func (s *session) Initialize()       { s.initialized.Store(true) }
func (s *session) Initialized() bool { return s.initialized.Load() }

func (s *session) SetLogLevel(level mcp.LoggingLevel) { set(s, &s.level, level) }
func (s *session) GetLogLevel() mcp.LoggingLevel      { return get(s, &s.level) }

// SetClientInfo keeps the name and version of a client, each cut to a size that names
// have: the rest, such as icons, may be as large as a message, and nobody asks for it.
func (s *session) SetClientInfo(client mcp.Implementation) {
	set(s, &s.client, mcp.Implementation{Name: cut(client.Name), Version: cut(client.Version)})
}
func (s *session) GetClientInfo() mcp.Implementation { return get(s, &s.client) }

// SetClientCapabilities keeps what a client can be asked. Nothing here goes by its
// other capabilities, which may be of any size too.
func (s *session) SetClientCapabilities(c mcp.ClientCapabilities) {
	set(s, &s.capabilities, mcp.ClientCapabilities{Elicitation: c.Elicitation, Sampling: c.Sampling, Roots: c.Roots})
}
func (s *session) GetClientCapabilities() mcp.ClientCapabilities { return get(s, &s.capabilities) }

func (s *session) SetProtocolVersion(version string) { set(s, &s.version, version) }
func (s *session) ProtocolVersion() string           { return get(s, &s.version) }

// cut is a copy of the beginning of a text, which does not hold on to the rest.
func cut(text string) string {
	const most = 200 // bytes
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
