package server

import (
	"cmp"
	"container/list"
	"crypto/rand"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	mcpserver "github.com/mark3labs/mcp-go/server"

	"ollama-mcp/internal/caller"
)

// client is a client of a protocol before 2026-07-28 over streamable HTTP: it introduces
// itself once, and then names its session in each request.
type client struct {
	session *session
	owner   caller.Caller // who began the session, and alone may use it
	inflight

	// What follows belongs to sessions.
	busy int       // requests that hold it
	used time.Time // when it was last held
}

// sessions holds clients by their session ids. It evicts those that have not been used for
// idle. Beyond max it evicts the least recently used one of the same caller, or else of all,
// but none that is in use. So a caller who begins sessions one after another evicts only their
// own.
type sessions struct {
	max  int
	idle time.Duration

	// mu guards what follows; nothing blocks under it.
	mu    sync.Mutex
	byID  map[string]*list.Element
	order list.List // of *client, the last used first
}

// add adds a client, unless too many are in use.
func (s *sessions) add(c *client) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetIdle()
	if len(s.byID) >= s.max && !s.evictOldest(c.owner) {
		return false
	}
	c.used = time.Now()
	if s.byID == nil {
		s.byID = make(map[string]*list.Element)
	}
	s.byID[c.session.sessionID] = s.order.PushFront(c)
	return true
}

// hold finds a client, which is not evicted until it is released.
func (s *sessions) hold(id string, owner caller.Caller) (c *client, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetIdle()
	e, ok := s.find(id, owner)
	if !ok {
		return nil, false
	}
	s.order.MoveToFront(e)
	c = e.Value.(*client)
	c.busy++
	return c, true
}

func (s *sessions) find(id string, owner caller.Caller) (e *list.Element, ok bool) {
	e, ok = s.byID[id]
	return e, ok && sameOwner(e.Value.(*client).owner, owner)
}

func (s *sessions) release(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.busy--
	c.used = time.Now()
	if e, ok := s.byID[c.session.sessionID]; ok {
		s.order.MoveToFront(e)
	}
}

// remove removes a client, and ends its requests.
func (s *sessions) remove(id string, owner caller.Caller) bool {
	s.mu.Lock()
	e, ok := s.find(id, owner)
	if ok {
		s.forget(e)
	}
	s.mu.Unlock()
	if ok {
		e.Value.(*client).endAll(ErrClientGone)
	}
	return ok
}

// forgetIdle starts from the least recently used. Few clients are in use at a time.
func (s *sessions) forgetIdle() {
	for e := s.order.Back(); e != nil; {
		c, next := e.Value.(*client), e.Prev()
		if c.busy == 0 {
			if time.Since(c.used) < s.idle {
				return
			}
			s.forget(e)
		}
		e = next
	}
}

// evictOldest evicts the least recently used client: of the owner, or if all theirs are in
// use, of all.
func (s *sessions) evictOldest(owner caller.Caller) bool {
	var oldest *list.Element
	for e := s.order.Back(); e != nil; e = e.Prev() {
		c := e.Value.(*client)
		if c.busy > 0 {
			continue
		}
		if c.owner.ID == owner.ID {
			oldest = e
			break
		}
		oldest = cmp.Or(oldest, e)
	}
	if oldest == nil {
		return false
	}
	s.forget(oldest)
	return true
}

func (s *sessions) forget(e *list.Element) {
	delete(s.byID, e.Value.(*client).session.sessionID)
	s.order.Remove(e)
}

// deleteSession serves DELETE /mcp: a client says that it is done.
func (x *exchange) deleteSession() {
	if isModern(x.req.Header.Get(headerVersion)) {
		x.w.Header().Set("Allow", http.MethodPost)
		x.refuseText(ReasonProtocol, http.StatusMethodNotAllowed, "there are no sessions since protocol version 2026-07-28")
		return
	}
	id := x.req.Header.Get(headerSession)
	switch {
	case id == "":
		x.refuseText(ReasonSession, http.StatusBadRequest, "the header "+headerSession+" is missing")
	case !x.sessions.remove(id, x.from):
		x.refuseText(ReasonSession, http.StatusNotFound, "there is no such session")
	default:
		x.w.WriteHeader(http.StatusNoContent)
	}
}

// session is what a client has said about itself.
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
