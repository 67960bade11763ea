package cases_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// A held host writes the beginning of each answer, and the rest when the test says so.
type held struct {
	arrived chan string   // the body of each request
	release chan struct{} // lets one answer end
	ended   chan struct{} // told when a request's client has left
}

// hold starts the program with such a host.
func hold(t *testing.T) (*held, *session) {
	t.Helper()
	h := &held{arrived: make(chan string, 10), release: make(chan struct{}), ended: make(chan struct{}, 10)}
	r := row{backends: backends{"a": {handle: h.serve}}, flags: []string{"--slots=8"}}
	return h, r.start(t)
}

func (h *held) serve(w http.ResponseWriter, r *http.Request, body string) {
	lines(`{"response":"Par","done":false}`).write(w, "application/x-ndjson")
	_ = http.NewResponseController(w).Flush() // the program may have gone
	h.arrived <- body
	select {
	case <-h.release:
		lines(`{"response":"is","done":false}`, `{"done":true,"done_reason":"stop"}`).write(w, "application/x-ndjson")
	case <-r.Context().Done():
		h.ended <- struct{}{}
	}
}

// toolCall is a call of generate with an id, which is the progress token too, and with more
// arguments.
func toolCall(id, more string) string {
	return `{"jsonrpc":"2.0","id":` + id + `,"method":"tools/call","params":{"_meta":{"progressToken":` + id + `},"name":"generate","arguments":{"model":"m","prompt":"hi"` + more + `}}}`
}

// until reads messages up to one that has all these words, and returns it.
func (s *session) until(words ...string) string {
	s.t.Helper()
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			s.t.Fatalf("no message with %q: %v", words, err)
		}
		all := true
		for _, word := range words {
			all = all && strings.Contains(line, word)
		}
		if all {
			return line
		}
	}
}

// answers are the results of calls, by their ids.
func (s *session) answers(ids ...string) map[string]string {
	s.t.Helper()
	got := map[string]string{}
	for len(got) < len(ids) {
		line := s.until(`"result"`)
		var m struct{ ID json.RawMessage }
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			s.t.Fatal(err)
		}
		got[string(m.ID)] = line
	}
	return got
}

func TestCallThatSharesAnAnswerSaysSoAndProgressKnowsItsCallByteForByte(t *testing.T) {
	t.Parallel()
	const second = "1760000000123456789"
	h, s := hold(t)
	s.send(toolCall("2", ""))
	<-h.arrived
	s.send(toolCall(second, ""))
	s.until(`"progressToken":`+second, "1 token") // of the answer that it has joined
	h.release <- struct{}{}
	got := s.answers("2", second)
	wantWords(t, "the first call came back with", got["2"], []string{"Paris", `"source":"local"`, "!shared"})
	wantWords(t, "the second call came back with", got[second], []string{"Paris", `"source":"coalesced"`, "shared with it"})
}

func TestRefreshJoinsNoCallThatBeganBeforeIt(t *testing.T) {
	t.Parallel()
	h, s := hold(t)
	s.send(toolCall("2", ""))
	<-h.arrived
	for id := range 3 {
		s.send(toolCall(fmt.Sprint(id+3), `,"cache":"refresh"`))
		<-h.arrived
	}
	for range 4 {
		h.release <- struct{}{}
	}
	for id, got := range s.answers("2", "3", "4", "5") {
		wantWords(t, "call "+id+" came back with", got, []string{"Paris", `"source":"local"`, "!shared"})
	}
}

func TestCallsThatAskForChanceHaveAnswersOfTheirOwn(t *testing.T) {
	t.Parallel()
	h, s := hold(t)
	for id := range 3 {
		s.send(toolCall(fmt.Sprint(id+2), `,"options":{"temperature":1}`))
		<-h.arrived
	}
	for range 3 {
		h.release <- struct{}{}
	}
	for id, got := range s.answers("2", "3", "4") {
		wantWords(t, "call "+id+" came back with", got, []string{"Paris", `"source":"local"`})
	}
}

func TestCancelMeansTheCallThatItCanMeanAlone(t *testing.T) {
	t.Parallel()
	h, s := hold(t)
	s.send(toolCall("7", ""))
	<-h.arrived
	s.send(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"7"}}`)
	<-h.ended
	s.send(toolCall("8", ""))
	<-h.arrived
	h.release <- struct{}{}
	wantWords(t, "the next call came back with", s.answers("8")["8"], []string{"Paris"})
}
