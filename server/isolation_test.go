package server_test

import (
	"fmt"
	"sync"
	"testing"

	"ollama-mcp/server"
)

const (
	crowd   = 60 // calls of a client at once
	reports = 5  // of each of them
)

// owned is the arguments of a call that belongs to a client: of all calls with this
// id, only its owner's has this text.
func owned(client string, id int) string {
	return call(fmt.Sprint(id), "own", fmt.Sprintf(`{"owner":"%s-%d","reports":%d}`, client, id, reports))
}

// checkOwned checks that what came for a call is all of its own and nothing else.
func checkOwned(t *testing.T, client string, id int, all []message) {
	t.Helper()
	owner := fmt.Sprintf("%s-%d", client, id)
	if len(all) != reports+1 {
		t.Errorf("%s got %d messages, want %d", owner, len(all), reports+1)
		return
	}
	for i, m := range all[:reports] {
		if m.Params.Message != owner || int(m.Params.Progress) != i+1 || fmt.Sprint(m.Params.ProgressToken) != fmt.Sprint(id) {
			t.Errorf("%s got %s as report %d", owner, m.line, i+1)
		}
	}
	if last := all[reports]; last.text() != owner || string(last.ID) != fmt.Sprint(id) {
		t.Errorf("%s got %s as its answer", owner, last.line)
	}
}

// together calls f for each client and each id, all at once.
func together(f func(client string, id int)) {
	var calls sync.WaitGroup
	for _, client := range []string{"a", "b"} {
		for id := range crowd {
			calls.Go(func() { f(client, id) })
		}
	}
	calls.Wait()
}

func TestSessionsWithEqualIDsGetTheirOwn(t *testing.T) {
	r := serveOnSocket(t, with(own()), server.HTTPOptions{})
	sessions := map[string]string{"a": r.initialize(), "b": r.initialize()}
	together(func(client string, id int) {
		a := r.postIn(sessions[client], owned(client, id))
		checkOwned(t, client, id, a.messages())
	})
}

func TestRequestsWithoutSessionsAndWithEqualIDsGetTheirOwn(t *testing.T) {
	r := serveOnSocket(t, with(own()), server.HTTPOptions{})
	together(func(client string, id int) {
		a := r.post(modern(owned(client, id)), modernHeader("tools/call", "own")...)
		checkOwned(t, client, id, a.messages())
	})
}

func TestStreamsWithEqualIDsGetTheirOwn(t *testing.T) {
	r := serveOnSocket(t, with(own()), server.HTTPOptions{})
	streams := map[string]*stream{"a": r.openStream(), "b": r.openStream()}
	for _, s := range streams {
		s.say(initialize)
		s.next()
	}
	together(func(client string, id int) { streams[client].say(owned(client, id)) })
	for client, s := range streams {
		got := make(map[string][]message) // by id or token
		for range crowd * (reports + 1) {
			m := s.next()
			id := string(m.ID)
			if m.Method != "" {
				id = fmt.Sprint(m.Params.ProgressToken)
			}
			got[id] = append(got[id], m)
		}
		for id := range crowd {
			checkOwned(t, client, id, got[fmt.Sprint(id)])
		}
		s.close()
	}
}
