// Package batch asks a model the same of many inputs.
//
// It promises that every input ends in an answer or in a coded error, in the order of the
// inputs; that no more is asked at once than the hosts can begin to work on, and that what finds
// no room waits instead of failing; that equal inputs are asked once; and that a batch which
// ended early, for whatever reason, asks only for what is missing when it is begun again. How a
// request gets its answer is left to package inference, and where files may lie to package files.
package batch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/schema"
)

// Engine answers requests; *inference.Engine implements it.
type Engine interface {
	Begin(inference.CallInfo) *inference.Call
	Do(context.Context, inference.Request) (*inference.Response, error)
	// Keyer returns a function that names requests which are like one but for their prompts:
	// equal ones of a tenant have the same name. digests, with blanks between them, are those of
	// the model. It fails if Do would refuse all of them.
	Keyer(ctx context.Context, like inference.Request) (key func(inference.Request) (string, error), digests string, err error)
	// Slots is how many requests for a model are worked on at once.
	Slots(model string) int
}

// Spec says what to ask. Engine, Journals, Template and Inputs are required.
type Spec struct {
	Engine   Engine
	Journals *Journals

	// Request is what all inputs share: everything but the prompt and its image. Its Timeout
	// is that of each input, and its Call names the trace of all.
	Request  inference.Request
	Template *Template
	Inputs   Inputs
	Afresh   bool // answers of an earlier batch are asked for again

	// Hold begins to count what an input and its prompt take of the memory for them: take is asked before
	// an input of a file is read and for its prompt, and give gives all of it back. An input for which there
	// is none at the moment waits. nil counts nothing.
	Hold func() (take func(bytes int64) error, give func())

	// Admit counts a request in the limits of the caller, beside which so many others of the
	// batch are in flight. It returns for how long the request has to wait if it may not begin
	// now. nil admits all.
	Admit func(others int) (end func(), wait time.Duration)
}

// Batch is the work on all inputs.
type Batch struct {
	Spec
	key     func(inference.Request) (string, error)
	digests string   // of the model
	keys    []string // of the questions, by input
	first   []int    // the first input with the same question, by input
	journal *journal
	reused  int // inputs whose answer an earlier batch has got

	mu      sync.Mutex // guards what follows
	began   time.Time  // the asking; the zero Time before
	todo    int        // questions that had to be asked
	asked   int        // of these, that have ended
	ended   int        // inputs that have ended, of all
	failed  map[int]*fault.Error
	waits   string // what the batch waits for; "" if it does not
	stopped *fault.Error
	in, out int // tokens of the questions that were asked
}

// New reads all inputs, so that a mistake in one is found before anything is asked. The batch
// must be closed. The error is a *fault.Error.
func New(ctx context.Context, s Spec) (*Batch, error) {
	n := s.Inputs.Len()
	switch {
	case n == 0:
		return nil, fault.Invalidf("there are no inputs")
	case n > MaxInputs:
		return nil, fault.Invalidf("there are %d inputs, and at most %d are allowed: split them over several calls", n, MaxInputs)
	}
	b := &Batch{Spec: s, keys: make([]string, n), first: make([]int, n), failed: make(map[int]*fault.Error)}
	var err error
	if b.key, b.digests, err = s.Engine.Keyer(ctx, s.Request); err != nil {
		return nil, fault.Of(err)
	}
	byKey := make(map[string]int, n)
	for i := range n {
		if b.keys[i], err = b.keyOf(ctx, i); err != nil {
			return nil, fault.Of(err)
		}
		first, isDuplicate := byKey[b.keys[i]]
		if !isDuplicate {
			first = i
			byKey[b.keys[i]] = i
		}
		b.first[i] = first
	}
	whole := s.Request
	whole.Prompt = "map " + s.Template.text
	id, err := b.key(whole)
	if err != nil {
		return nil, fault.Of(err)
	}
	if b.journal, err = s.Journals.open(ctx, id); err != nil {
		return nil, fault.Of(err)
	}
	if s.Afresh {
		b.journal.forget()
		b.journal.dropShared(b.keys)
	} else {
		b.journal.take(b.keys, b.digests)
	}
	return b, nil
}

// Len is the number of inputs.
func (b *Batch) Len() int { return len(b.keys) }

// Close says that the answers are not needed any more.
func (b *Batch) Close() { b.journal.close() }

// keyOf names the question about an input. It waits for memory to read it.
func (b *Batch) keyOf(ctx context.Context, i int) (key string, err error) {
	for {
		req, give, err := b.request(ctx, i)
		if err == nil {
			key, err = b.key(req)
		}
		give()
		if err == nil || !isFull(fault.Of(err)) {
			return key, cmp.Or(err, ctx.Err())
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// request is the one for an input. Its error is a *fault.Error. give gives back the memory that it
// takes, with an error too.
func (b *Batch) request(ctx context.Context, i int) (req inference.Request, give func(), err error) {
	req = b.Request
	take, give := func(int64) error { return nil }, func() {}
	if b.Hold != nil {
		take, give = b.Hold()
	}
	in, err := b.Inputs.Read(ctx, i, take)
	if err != nil {
		return req, give, err
	}
	if req.Prompt, err = b.Template.Render(in); err != nil {
		return req, give, err
	}
	if err := take(int64(len(req.Prompt))); err != nil {
		return req, give, err
	}
	if in.Image != nil {
		req.Images = append(req.Images[:len(req.Images):len(req.Images)], in.Image)
	}
	return req, give, nil
}

// Progress is how far a batch is.
type Progress struct {
	Done, Of int
	Expected time.Duration // until it ends; 0 if not known
	Message  string
}

// Progress may be called from any goroutine.
func (b *Batch) Progress() Progress {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := Progress{Done: b.ended, Of: len(b.keys)}
	p.Message = fmt.Sprintf("%d of %d done", p.Done, p.Of)
	if n := len(b.failed); n > 0 {
		p.Message += fmt.Sprintf(", %d failed", n)
	}
	if b.asked > 0 && b.asked < b.todo {
		p.Expected = time.Since(b.began) / time.Duration(b.asked) * time.Duration(b.todo-b.asked)
		p.Message += fmt.Sprintf(", about %v left", max(p.Expected.Round(time.Second), time.Second))
	}
	if b.waits != "" {
		p.Message += "; " + b.waits
	}
	return p
}

// Item is what an input has ended in: an answer or an error.
type Item struct {
	Index int
	Name  string
	Row
	Err *fault.Error // nil if there is an answer
}

// Item returns what an input has ended in, once Run has returned.
func (b *Batch) Item(i int) Item {
	item := Item{Index: i, Name: b.Inputs.Name(i)}
	if err := b.failed[b.first[i]]; err != nil {
		item.Err = err
		return item
	}
	if !b.journal.has(b.keys[i], b.digests) {
		item.Err = b.unasked()
		return item
	}
	row, err := b.journal.get(b.keys[i])
	if err != nil {
		item.Err = fault.Of(err)
	}
	item.Row = row
	return item
}

// unasked is the error of inputs that were not asked for before the batch ended.
func (b *Batch) unasked() *fault.Error {
	e := &fault.Error{Code: fault.Cancelled, Message: "not asked", Retryable: true, Hint: "the same call again asks for what is missing"}
	if b.stopped != nil {
		e.Code, e.Message = b.stopped.Code, "not asked, since the batch had ended: "+b.stopped.Message
	}
	return e
}

// Summary is what a batch has come to.
type Summary struct {
	Inputs, Answered, Failed, Unasked int // the first is the sum of the others
	Reused                            int // of the answered: an earlier batch had got their answers
	Duplicates                        int // inputs that are equal to an earlier one
	TokensIn, TokensOut               int // of the questions that were asked now
	// Stopped is why the batch ended early; nil if all questions were asked.
	Stopped *fault.Error
}

// Summary is for when Run has returned.
func (b *Batch) Summary() Summary {
	s := Summary{Inputs: len(b.keys), Reused: b.reused, TokensIn: b.in, TokensOut: b.out, Stopped: b.stopped}
	for i, first := range b.first {
		switch {
		case b.failed[first] != nil:
			s.Failed++
		case b.journal.has(b.keys[i], b.digests):
			s.Answered++
		default:
			s.Unasked++
		}
		if first != i {
			s.Duplicates++
		}
	}
	return s
}

// rowOf is what is kept of an answer, and the error of an answer that is of no use.
func rowOf(resp *inference.Response) (Row, error) {
	row := Row{Text: resp.Text, Notes: resp.Notes, TokensIn: resp.Served.TokensIn, TokensOut: resp.Served.TokensOut}
	if resp.Data != nil {
		row.Text, row.Data = "", schema.Readable(resp.Data)
	}
	if resp.Served.TimedOut() {
		return row, &fault.Error{
			Code: fault.Timeout, Message: strings.Join(resp.Notes, " "), Retryable: true, Partial: resp.Text,
			Hint: "the same call again asks for it anew",
		}
	}
	return row, nil
}

// why is the error of a batch whose context has ended.
func why(ctx context.Context) *fault.Error {
	if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return &fault.Error{Code: fault.Timeout, Message: "the time limit of the call was reached", Retryable: true}
	}
	e := fault.Of(context.Cause(ctx))
	if e.Code == fault.Internal {
		e.Code = fault.Cancelled
	}
	return e
}
