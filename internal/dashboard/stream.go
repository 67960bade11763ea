package dashboard

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/share"
)

//go:embed page.html page.css page.js icon.svg
var files embed.FS

// Paths of the page.
const (
	PathStyle  = "/dashboard/page.css"
	PathScript = "/dashboard/page.js"
	PathIcon   = "/dashboard/icon.svg"
	PathCancel = "/dashboard/cancel" // see Page.Cancel
)

// Files are the files of the page, by path. They hold no data.
func Files() map[string]http.Handler {
	all := make(map[string]http.Handler)
	for path, f := range map[string][2]string{
		"": {"page.html", "text/html; charset=utf-8"}, PathStyle: {"page.css", "text/css; charset=utf-8"},
		PathScript: {"page.js", "text/javascript; charset=utf-8"}, PathIcon: {"icon.svg", "image/svg+xml"},
	} {
		text, err := files.ReadFile(f[0])
		if err != nil {
			panic(err) // it is embedded
		}
		all[path] = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", f[1])
			w.Header().Set("Content-Length", strconv.Itoa(len(text)))
			_, _ = w.Write(text) // if it cannot, nobody is left to be told
		})
	}
	return all
}

const (
	// MaxViewers is how many may look at once. Of these, a caller may have as many as are still free.
	MaxViewers = 50
	// eventEvery is the shortest time between two events of a viewer.
	eventEvery = time.Second
	// keepAlive is how often a viewer is sent something even if nothing changes, so that
	// neither proxies nor the page take the connection for dead.
	keepAlive = 15 * time.Second
	// writeTime is how long a viewer may take to take an event, before it is dropped.
	writeTime = 10 * time.Second
)

// Stream sends a viewer the state of the program, and all that is remembered, as server-sent
// events: at most one a second, and none while nothing changes. It ends when the request does,
// and when may reports that the viewer may not look any more. Who looks is the caller in the context
// of the request.
func (p *Page) Stream(w http.ResponseWriter, req *http.Request, may func() bool) {
	who := caller.FromContext(req.Context()).ID
	if err := p.viewers.Take(who, 1); err != nil {
		w.Header().Set("Retry-After", "30")
		message := "too many people look at this page; close another one"
		if over, ok := errors.AsType[*share.Over](err); ok && over.OfCaller {
			message = "you look at this page in too many places; close another one"
		}
		http.Error(w, message, http.StatusServiceUnavailable)
		return
	}
	defer p.viewers.Give(who, 1)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // for nginx
	flow := http.NewResponseController(w)
	send := func(text []byte) bool {
		_ = flow.SetWriteDeadline(time.Now().Add(writeTime)) // not all writers have one
		_, err := w.Write(text)
		if err == nil {
			err = flow.Flush()
		}
		_ = flow.SetWriteDeadline(time.Time{}) // over HTTP/2 it would end the stream while nothing is written
		return err == nil
	}
	v := viewer{page: p}
	quiet := time.Now()
	next := time.NewTimer(eventEvery)
	defer next.Stop()
	for {
		if !may() {
			send([]byte("event: end\ndata: {}\n\n"))
			return
		}
		text := v.next()
		if text == nil && time.Since(quiet) >= keepAlive {
			text = []byte("event: alive\ndata: {}\n\n") // not a comment, of which scripts are not told
		}
		if text != nil {
			if !send(text) {
				return
			}
			quiet = time.Now()
		}
		next.Reset(eventEvery)
		select {
		case <-next.C:
		case <-req.Context().Done():
			return
		}
	}
}

// viewer is how much a viewer has been told.
type viewer struct {
	page                    *Page
	state                   json.RawMessage
	calls, changes, samples uint64
}

// event is what a viewer is sent.
type event struct {
	Now     int64             `json:"now"`            // see Page.at
	Full    bool              `json:"full,omitempty"` // all that the page knew is to be forgotten
	State   json.RawMessage   `json:"state"`
	Calls   []json.RawMessage `json:"calls,omitempty"`
	Changes []json.RawMessage `json:"changes,omitempty"`
	Samples []json.RawMessage `json:"samples,omitempty"`
}

// next is the next event; nil if nothing has changed.
func (v *viewer) next() []byte {
	p := v.page
	state := p.current()
	e := event{Now: p.at(time.Now()), Full: v.state == nil, State: state}
	p.mu.Lock()
	e.Calls, v.calls = p.calls.since(v.calls)
	e.Changes, v.changes = p.changes.since(v.changes)
	e.Samples, v.samples = p.samples.since(v.samples)
	p.mu.Unlock()
	if bytes.Equal(state, v.state) && e.Calls == nil && e.Changes == nil && e.Samples == nil {
		return nil
	}
	v.state = state
	text, _ := json.Marshal(e) // cannot fail: it is plain
	return append(append([]byte("retry: 2000\ndata: "), text...), "\n\n"...)
}

// Cancel ends the call whose number the body names, as {"n": 7}.
func (p *Page) Cancel(w http.ResponseWriter, req *http.Request) {
	var body struct {
		Number uint64 `json:"n"`
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, req.Body, 1<<10)).Decode(&body); err != nil || body.Number == 0 {
		http.Error(w, "the body must be like {\"n\": 7}", http.StatusBadRequest)
		return
	}
	if p.opts.Cancel == nil || !p.opts.Cancel(body.Number) {
		http.Error(w, "there is no such call any more", http.StatusNotFound)
		return
	}
	p.opts.Log.Info("an administrator has cancelled a call", "call", body.Number)
	w.WriteHeader(http.StatusNoContent)
}
