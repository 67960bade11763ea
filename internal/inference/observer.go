package inference

import (
	"strings"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/route"
)

// Observer is told of calls. Its methods may be called from many goroutines at once, with
// no lock of ours held; the call that they report on waits until they return.
type Observer interface {
	// Done is told once of every call, when it is over.
	Done(Record)
}

// Watcher is an Observer that is also told of calls while they are under way. Events cost nothing
// where nobody wants to be told of them.
type Watcher interface {
	Observer
	// Begin is told that a call has begun, and returns of which of its events the watcher wants to be
	// told. It is told of others as well if another watcher of the call wants that.
	Begin(*CallInfo) Wants
	// Event is told what happens to a call while it is under way.
	Event(Event)
}

// Wants says of which events of a call a Watcher wants to be told.
type Wants int

// Each wants those before it too.
const (
	NoEvents Wants = iota
	Attempts       // Granted and Retried
	AllEvents
)

// EventKind says what has happened.
type EventKind string

// The kinds of events, in the order in which a call may have them. A call may have several
// fills, one after another; a fill several rungs, and a rung several attempts, of which a
// hedge runs beside another.
const (
	LookedUp  EventKind = "looked_up"  // the cache was asked; see Cache, and Wait for how long that took. Fill is the one that the call joins if it is CacheCoalesced
	FillBegan EventKind = "fill_began" // an answer is made for the call, and for those that join it
	Compared  EventKind = "compared"   // cached requests were searched for one that means the same; see Cache and Wait
	RungBegan EventKind = "rung_began" // see Rung and Model

	Queued       EventKind = "queued"        // no slot is free; see Place and Wait
	Granted      EventKind = "granted"       // a host has a slot, and an attempt begins; see Attempt, and Wait for how long that took
	FirstToken   EventKind = "first_token"   // the host has begun its answer; see Wait for how long that took
	AttemptEnded EventKind = "attempt_ended" // see Err, and what there is of an answer: Tokens, TokensIn, Load and DoneReason
	Retried      EventKind = "retried"       // an attempt failed with Err, and the next begins in Wait

	RungEnded EventKind = "rung_ended" // the rung has answered, or was passed because of Err. One that was skipped has not begun
	FillEnded EventKind = "fill_ended" // see Err; Cache is CacheSemantic for a paraphrase of the request that was cached

	// LadderChanged is not about a call, and all watchers are told of it: the ladder of Model is in
	// another state; see To and Reason.
	LadderChanged EventKind = "ladder_changed"
)

// Event is one thing that happened. Fields that its kind does not use are zero. What
// happens in a fill that several calls wait for is told of the first of them alone, and goes
// on when that one is over while others wait.
type Event struct {
	Kind  EventKind
	Call  uint64 // CallInfo.ID; 0 for none
	Fill  uint64 // names the fill; 0 for none
	API   string // of the host that is asked: generate, chat or embed; "" if none is
	Batch int    // of texts to embed, several of which a fill may have hosts embed at once; 0 for none
	Trace string // of the call
	Tool  string
	Model string // as the host or the provider calls it

	Cache    CacheVerdict
	Rung     int    // of the ladder, from 1
	Provider string // whose model the rung is; "" for our own hosts
	Host     string
	Place    int           // in the queue; 1 is next
	Wait     time.Duration // what has been or will be waited; 0 if not known
	Attempt  int           // from 1
	Hedge    bool          // the attempt runs beside another that is late
	Err      error

	TokensIn   int           // 0 if not known
	Tokens     int           // that have arrived
	Load       time.Duration // of the model; 0 if it was loaded, or that is not known
	DoneReason string

	From, To route.State
	Reason   string
}

// Record is what there is to know of one call when it is over.
type Record struct {
	Call      uint64 // CallInfo.ID
	Trace     string // names the call in results and logs
	RequestID string // of its HTTP request; "" on stdio
	Tool      string // see CallInfo
	HTTP      HTTPRequest
	Status    int    // of the response to the HTTP request; 0 for MCP
	Caller    string // caller.Caller.ID
	Began     time.Time
	Took      time.Duration

	// Asked says what a model was asked for. It is zero for a call that asks no model, or that
	// was refused before.
	Asked Asked
	// Served says what answered the call, or how far it had come. It is zero for a call
	// that asks no model, or whose arguments did not come so far as to name one.
	Served Served
	Cache  CacheVerdict
	Saved  time.Duration // that a cached or shared answer would have taken; 0 for others
	Code   fault.Code    // "" for success
	Err    string        // one line without words of prompts and answers; "" for success

	History *History // nil without Options.Live, and for a call for which no host was wanted
}

// Asked is what a call asks a model for, and what comes of it.
type Asked struct {
	Messages     int // of a conversation, or texts to embed; 1 for a prompt
	PromptTokens int // estimated from the size of the prompt

	// What follows is there only with Options.Texts. Nobody may change what it points to.

	Request  *Request  // nil for a call that embeds
	Texts    []string  // to embed
	Response *Response // nil for a call that failed or that embeds
	Partial  string    // what there was of an answer when the call failed
}

// WithoutTexts is the same without the texts of prompt and answer.
func (a Asked) WithoutTexts() Asked { return Asked{Messages: a.Messages, PromptTokens: a.PromptTokens} }

// Origin says where the answer came from, in one word: local, cloud, cache, which stands for
// shared answers too, or none.
func (r *Record) Origin() string {
	switch s := r.Served.Source; {
	case r.Code != "" && r.Served.TokensOut == 0:
		return "none"
	case s == Local || s == Cloud:
		return string(s)
	}
	return "cache"
}

// WasAnswered reports whether something has answered the call, or a host at least was asked.
func (r *Record) WasAnswered() bool {
	return r.Served.Model != "" && (r.Code == "" || r.Served.Host != "")
}

// CacheVerdict says what the cache did for a call.
type CacheVerdict string

// The verdicts.
const (
	CacheUnasked   CacheVerdict = ""          // the call asks no model, or was refused before
	CacheOff       CacheVerdict = "off"       // the call may not use the cache
	CacheHit       CacheVerdict = "hit"       // of an embed request, for all its texts
	CacheShared    CacheVerdict = "shared"    // another replica had the answer, or made it
	CacheMiss      CacheVerdict = "miss"      // neither this nor a similar request is cached
	CacheRefresh   CacheVerdict = "refresh"   // the answer is to replace a cached one
	CacheCoalesced CacheVerdict = "coalesced" // the request joined an identical one that was in flight
	CacheSemantic  CacheVerdict = "semantic"  // a paraphrase of the request is cached
)

// CallInfo describes a call when it begins.
type CallInfo struct {
	ID        uint64 // tells the calls of this process apart; set by Engine.Begin
	PartOf    uint64 // ID of the call that this one is a part of; 0 for none
	Trace     string
	Parent    TraceContext // the span that has made the call
	Link      TraceContext // another span that the call has to do with, as that of its HTTP request
	RequestID string
	Tool      string // or the method of a request that calls none, such as prompts/get
	HTTP      HTTPRequest
	Caller    caller.Caller
	Began     time.Time // when its time limit begins to run; the zero Time for now
}

// HTTPRequest is the request of another API than MCP by which a call has come, such as one of the
// gateway. The tool of such a call is the one that does the same. It is zero for calls by MCP.
type HTTPRequest struct {
	Method, Route string // such as POST and /v1/chat/completions
	Scheme        string // http or https
}

// String is the method and the route; "" for a call by MCP.
func (r HTTPRequest) String() string {
	if r.Route == "" {
		return ""
	}
	return r.Method + " " + r.Route
}

// ErrorType is what OpenTelemetry's conventions call the error of a call: "" for none, tool_error
// for a result of MCP that is an error, and our code for a response of HTTP that is not the
// client's fault, or a stream that broke off.
func (r *Record) ErrorType() string {
	switch {
	case r.Code == "" || r.Status >= 400 && r.Status < 500:
		return ""
	case r.HTTP.Route == "":
		return "tool_error"
	}
	return string(r.Code)
}

// Method is the method of MCP by which a tool was called, or another request made, by what CallInfo
// and Record call the tool. tool is "" if there is none.
func Method(called string) (method, tool string) {
	if strings.Contains(called, "/") { // no name of a tool does
		return called, ""
	}
	return "tools/call", called
}

// TraceContext names a span.
type TraceContext = backend.TraceContext
