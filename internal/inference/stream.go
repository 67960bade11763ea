package inference

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"strings"
	"sync"
	"unicode/utf8"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/moderation"
	"ollama-mcp/pool"
)

// This file gives callers an answer in pieces while it arrives. What has arrived is kept once, by
// the attempt that makes it; each caller has a place in it. So calls that share an answer each get
// all of it, and one that reads slowly holds up nobody and needs no buffer.

// Piece is a part of an answer.
type Piece struct {
	Text, Thinking string // that come behind those of the pieces before
	ToolCalls      []backend.ToolCall
	Logprobs       []backend.Logprob // of all tokens at once
	// Again says that the answer begins anew: the pieces before are no part of it.
	Again bool
	// Waiting is how many bytes of text, with this piece, have arrived and wait to be sent.
	Waiting int
	// Served is what serves the answer, as far as that is known.
	Served Served
}

// mostPiece bounds the text of a piece, in bytes, so that a caller who is late gets the rest in
// parts.
const mostPiece = 16 << 10

// errOvertaken ends an attempt beside one that is streamed.
var errOvertaken = fmt.Errorf("%w: another host's answer is being streamed", pool.ErrTooSlow)

// errBroken is the cause with which a request ends whose stream cannot go on.
var errBroken = errors.New("the stream cannot go on")

// streamed is what there is to stream of an answer that is being made.
type streamed struct {
	attempt        *attempt // nil if there is nothing yet
	text, thinking string
	served         Served
	failure        error // of the last attempt; nil if none has failed
}

// stream gives a caller the pieces of an answer.
type stream struct {
	*task
	cancel context.CancelCauseFunc // ends the request
	live   bool                    // pieces need not wait for the end of the answer

	mu      sync.Mutex // guards what follows
	tracker *tracker   // of the answer; nil before there is one
	unwatch func()
	joined  bool // the answer is made for another call

	changed chan struct{} // that the tracker has news
	stop    chan struct{} // closed when there is no more to follow
	ended   chan struct{} // closed when nothing is followed any more

	// What follows is the follower's, and the request's own when it has ended.

	from     *attempt            // whose answer is sent; nil for none
	text     string              // of the attempt, which has been dealt with
	thinking string              // likewise
	begun    bool                // the thoughts at the beginning of the text have been dealt with
	masks    [2]*moderation.Mask // of the text and of the thoughts
	sent     sum                 // the text
	thought  sum                 // the thoughts
	broken   error               // why the request has to end; nil if it has not
	again    bool                // the answer has to be sent anew, at its end
}

// sum is what a text that was sent comes to.
type sum struct {
	bytes int
	hash  maphash.Hash
}

func (s *sum) add(text string) {
	s.bytes += len(text)
	_, _ = s.hash.WriteString(text) // never fails
}

// begins reports whether a text begins with what was sent.
func (s *sum) begins(text string) bool {
	return len(text) >= s.bytes && maphash.String(s.hash.Seed(), text[:s.bytes]) == s.hash.Sum64()
}

// streamed answers a request in pieces.
func (t *task) streamed(ctx context.Context) (*Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &stream{
		task: t, cancel: cancel, changed: make(chan struct{}, 1), stop: make(chan struct{}), ended: make(chan struct{}),
		live: t.format == nil && t.settings.Filter.CanMask() && !t.Logprobs && t.only == nil,
	}
	t.stream = s
	t.streams.Go(s.run)
	resp, err := t.do(ctx)
	close(s.stop)
	<-s.ended
	s.leave()
	switch {
	case s.broken != nil:
		return nil, t.filterError(s.broken)
	case err != nil:
		return nil, err
	}
	return resp, s.finish(resp)
}

// follow has the stream be that of an answer.
func (s *stream) follow(tr *tracker) {
	if s == nil || !s.live {
		return
	}
	s.leave()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.joined, s.tracker = s.tracker != nil, tr
	s.unwatch = tr.watch(s.changed)
}

// leave ends following an answer.
func (s *stream) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.unwatch != nil {
		s.unwatch()
		s.unwatch = nil
	}
}

// run sends what arrives until there is no more to follow.
func (s *stream) run() {
	defer close(s.ended)
	for {
		select {
		case <-s.stop:
			return
		case <-s.changed:
		}
		if !s.step() {
			return
		}
	}
}

// step sends what has arrived since the last one. It reports whether there may be more to come.
func (s *stream) step() bool {
	s.mu.Lock()
	tr, joined := s.tracker, s.joined
	s.mu.Unlock()
	v := tr.streamed()
	if s.from != nil && !s.goesOn(v) && s.sent.bytes > 0 {
		if last := tr.ofAttempt(s.from); !s.Restart && s.goesOn(last) && !s.pass(tr, last, joined) {
			return false
		}
		return s.breaks(v)
	}
	if v.attempt == nil {
		return true
	}
	if !s.goesOn(v) {
		s.from, s.text, s.thinking, s.begun = v.attempt, "", "", false
		s.masks, s.thought = [2]*moderation.Mask{s.settings.Filter.Mask(), s.settings.Filter.Mask()}, sum{}
	}
	return s.pass(tr, v, joined)
}

// goesOn reports whether an answer goes on as what has been dealt with has begun.
func (s *stream) goesOn(v streamed) bool {
	return v.attempt == s.from && strings.HasPrefix(v.thinking, s.thinking) && strings.HasPrefix(v.text, s.text)
}

// pass gives the caller what has arrived of the answer and has not been dealt with. It reports whether there may
// be more.
func (s *stream) pass(tr *tracker, v streamed, joined bool) bool {
	if joined {
		v.served.Source = Coalesced
	}
	v.served.Trace = s.call.Trace
	thinking := ""
	if s.wantsThoughts() {
		thinking = s.masks[1].Text(v.thinking[len(s.thinking):])
	}
	s.thinking = v.thinking
	text := s.masks[0].Text(s.arrived(v.text))
	behind := func() int { return max(0, len(tr.streamed().text)-len(s.text)) }
	if err := s.send(Piece{Text: text, Thinking: thinking, Served: v.served}, behind); err != nil {
		s.breakOff(unread(err))
		return false
	}
	return true
}

// arrived is what has arrived of the text of an answer behind what has been dealt with. Thoughts
// between tags, at the beginning, are no part of it: they are held back until the answer is whole.
func (s *stream) arrived(text string) (rest string) {
	at := len(s.text)
	if !s.begun {
		var known bool
		if at, known = s.beginning(text, s.text); !known {
			s.text = text
			return ""
		}
		s.begun = true
	}
	s.text = text
	return text[at:]
}

// beginning is where the answer begins in a text that may begin with thoughts between tags; not
// known if that is not seen yet. before is the text when that was last looked for.
func (s *stream) beginning(text, before string) (at int, known bool) {
	if s.Raw {
		return 0, true
	}
	switch {
	case !s.markup().Begins(text):
		return 0, true
	case before != "" && !strings.ContainsAny(text[len(before):], ">]▷"): // no tag has ended
		return 0, false
	}
	return s.markup().Answers(text)
}

// breaks deals with an answer that does not go on as it has begun, of which text was sent.
func (s *stream) breaks(v streamed) bool {
	if s.Restart {
		s.again = true
		return false // the rest is sent at the end
	}
	err := cmp.Or(v.failure, error(errBroken))
	e := explain(s.Model, err)
	e.Message = "the answer broke off: " + e.Message
	s.breakOff(e)
	return false
}

// breakOff ends the request.
func (s *stream) breakOff(err *fault.Error) {
	s.broken = err
	s.cancel(errBroken)
}

// send gives the caller a piece, in parts if it is large. One with nothing in it is left out. behind
// returns how many bytes have arrived meanwhile.
func (s *stream) send(p Piece, behind func() int) error {
	s.thought.add(p.Thinking)
	for len(p.Thinking) > mostPiece {
		part := Piece{Served: p.Served, Again: p.Again}
		part.Thinking, p.Thinking = cut(p.Thinking)
		part.Waiting = len(part.Thinking) + len(p.Thinking) + len(p.Text) + behind()
		if err := s.Stream(part); err != nil {
			return err
		}
		p.Again = false
	}
	s.sent.add(p.Text)
	for len(p.Text) > mostPiece {
		part := Piece{Thinking: p.Thinking, Served: p.Served, Again: p.Again}
		part.Text, p.Text = cut(p.Text)
		part.Waiting = len(part.Thinking) + len(part.Text) + len(p.Text) + behind()
		if err := s.Stream(part); err != nil {
			return err
		}
		p.Thinking, p.Again = "", false
	}
	if p.Text == "" && p.Thinking == "" && len(p.ToolCalls)+len(p.Logprobs) == 0 {
		return nil
	}
	p.Waiting = len(p.Thinking) + len(p.Text) + behind()
	return s.Stream(p)
}

// cut cuts off a part of a long text.
func cut(text string) (part, rest string) {
	at := mostPiece
	for at > mostPiece-utf8.UTFMax && !utf8.RuneStart(text[at]) {
		at--
	}
	return text[:at], text[at:]
}

// asWritten is the rest of an answer whose text was sent before it turned out to have markup, which
// was only seen in the whole: as the model has written it. It is not ok for any other answer.
func (s *stream) asWritten() (rest string, ok bool) {
	if s.from == nil || s.again {
		return "", false
	}
	v := s.tracker.streamed()
	rest, ok = strings.CutPrefix(v.text, s.text)
	if !ok || v.attempt != s.from {
		return "", false
	}
	return s.masks[0].Text(rest) + s.masks[0].Rest(), true
}

// finish gives the caller what is left of an answer that is complete.
func (s *stream) finish(resp *Response) error {
	p := Piece{ToolCalls: resp.ToolCalls(), Logprobs: resp.Logprobs, Served: resp.Served}
	written, isWritten := s.asWritten()
	switch {
	case s.sent.begins(resp.Text) && !s.again:
		p.Text = resp.Text[s.sent.bytes:]
	case isWritten:
		p.Text = written
	case s.Restart:
		p.Text, p.Again, s.thought = resp.Text, true, sum{}
	default:
		return &fault.Error{Code: fault.Upstream, Message: "the answer broke off: it ended otherwise than it had begun", Retryable: true, Hint: "try again"}
	}
	if s.thought.begins(resp.Thinking) {
		p.Thinking = resp.Thinking[s.thought.bytes:]
	}
	if err := s.send(p, func() int { return 0 }); err != nil {
		return unread(err)
	}
	return nil
}

// unread is the error of a request whose caller takes no more pieces.
func unread(why error) *fault.Error {
	return &fault.Error{Code: fault.Cancelled, Message: "the caller takes no more of the answer: " + why.Error()}
}
