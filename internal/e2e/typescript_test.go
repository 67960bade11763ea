package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"ollama-mcp/internal/e2e/clients"
)

// driven is a client of a TypeScript SDK; clients/drive.mjs says how it is driven.
type driven struct {
	t       *testing.T
	in      io.WriteCloser
	version string // of the protocol; empty where the SDK does not tell

	mu        sync.Mutex // guards what follows, and that orders do not mix
	lenient   bool       // the SDK may complain
	left      bool       // the client ends
	cancelled bool       // a call was
	orders    int
	events    map[int]chan event // of orders in flight
}

// event is a message of a driven client. One of the fields after the first is set.
type event struct {
	ID       int
	Ready    *struct{ Version string }
	Tools    []string
	Progress *mcp.ProgressNotificationParams
	Result   *answer
	Answer   map[string]any
	Error    *sdkError
	Trouble  string
}

// sdkError is why a call of a TypeScript SDK failed.
type sdkError struct {
	Code    any // a number from HTTP or the protocol, or a word of the SDK
	Message string
}

func (e *sdkError) Error() string { return fmt.Sprintf("%s (%v)", e.Message, e.Code) }

// drive starts a client of a TypeScript SDK, and waits until it is connected.
func drive(t *testing.T, program string, args ...string) *driven {
	t.Helper()
	return driveIn(t, nil, program, args...)
}

// driveIn is drive with more variables in the environment of the client, and of the program
// that it starts.
func driveIn(t *testing.T, env []string, program string, args ...string) *driven {
	t.Helper()
	clients.Install(t)
	ctx := deadline(t)
	cmd, err := clients.Command(ctx, program, args...)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(command(ctx, shared.URL()).Env, env...)
	in, out, stderr := startPiped(t, cmd)
	ready := make(chan event, 1)
	d := &driven{t: t, in: in, events: map[int]chan event{0: ready}}
	var reading sync.WaitGroup
	reading.Go(func() { d.read(out) })
	t.Cleanup(func() {
		d.leaves()
		in.Close()
		reading.Wait()
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", program, err)
		}
		if t.Failed() {
			t.Logf("standard error of %s:\n%s", program, stderr.tail())
		}
	})
	connected, ok := <-ready
	if !ok {
		t.Fatalf("%s did not connect", program)
	}
	d.version = connected.Ready.Version
	return d
}

// read passes events on until the client's output ends.
func (d *driven) read(out io.Reader) {
	said := json.NewDecoder(out)
	for {
		var e event
		if err := said.Decode(&e); err != nil {
			if err != io.EOF {
				d.t.Error(err)
			}
			break
		}
		if e.Trouble == "" {
			d.pass(e)
		} else if !d.mayComplain(e.Trouble) {
			d.t.Errorf("the SDK complains: %s", e.Trouble)
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, events := range d.events {
		close(events)
	}
}

// expectComplaints allows errors of the SDK, for a client whose server is about to end.
func (d *driven) expectComplaints() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lenient = true
}

// leaves notes that the client is about to end.
func (d *driven) leaves() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left = true
}

// mayComplain reports whether the SDK has a reason for what it says. Progress of a call that it has
// cancelled may have been on its way, and a client that leaves aborts a request whose answer came by a
// stream before it was accepted.
func (d *driven) mayComplain(trouble string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lenient || d.left && strings.Contains(trouble, "AbortError") ||
		d.cancelled && strings.Contains(trouble, "progress notification for an unknown token")
}

// pass passes an event on to the caller of order.
func (d *driven) pass(e event) {
	d.mu.Lock()
	defer d.mu.Unlock()
	events, ok := d.events[e.ID]
	if !ok {
		d.t.Errorf("after its answer, or unasked, came %+v", e)
		return
	}
	events <- e
	if e.Progress == nil {
		close(events)
		delete(d.events, e.ID)
	}
}

// order gives the client an order, and returns the events that follow from it.
func (d *driven) order(what map[string]any) (id int, events <-chan event) {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.orders++
	mine := make(chan event, 100)
	d.events[d.orders] = mine
	what["id"] = d.orders
	d.write(what)
	return d.orders, mine
}

func (d *driven) write(order map[string]any) {
	d.t.Helper()
	if err := json.NewEncoder(d.in).Encode(order); err != nil {
		d.t.Error(err)
	}
}

func (d *driven) protocol() string { return d.version }

func (d *driven) tools() []string {
	d.t.Helper()
	_, events := d.order(map[string]any{"list": true})
	return (<-events).Tools
}

func (d *driven) use(method, params string) (map[string]any, error) {
	d.t.Helper()
	_, events := d.order(map[string]any{"use": method, "with": json.RawMessage(params)})
	e := <-events
	if e.Error != nil {
		return nil, e.Error
	}
	return e.Answer, nil
}

func (d *driven) start(tool, args string) *pending {
	d.t.Helper()
	id, events := d.order(map[string]any{"call": tool, "arguments": json.RawMessage(args)})
	cancel := func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.cancelled = true
		d.write(map[string]any{"id": id, "cancel": true})
	}
	p := &pending{t: d.t, cancel: cancel, progress: make(chan *mcp.ProgressNotificationParams, 1000), done: make(chan struct{})}
	go p.follow(events)
	return p
}

// follow records the outcome of a call.
func (p *pending) follow(events <-chan event) {
	defer close(p.done)
	p.err = io.ErrUnexpectedEOF // should the client end before the call
	for e := range events {
		switch {
		case e.Progress != nil:
			p.progress <- e.Progress
		case e.Error != nil:
			p.err = e.Error
		case e.Result != nil:
			p.answer, p.err = *e.Result, nil
		}
	}
}
