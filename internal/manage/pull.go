package manage

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
)

// silence is how long a host may say nothing while it works, before the work is given up. It
// takes minutes to check the digest of a large model, and nothing is said meanwhile.
const silence = 15 * time.Minute

var errSilent = fmt.Errorf("nothing was heard for %v", silence)

// untilSilent does work on a host, which calls heard whenever the host says something, and gives it
// up when nothing has been heard for too long.
func untilSilent(ctx context.Context, h Host, work func(ctx context.Context, heard func()) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	quiet := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer quiet.Stop()
	err := work(ctx, func() { quiet.Reset(silence) })
	if context.Cause(ctx) == errSilent {
		return &backend.Error{Host: h.Name(), Class: backend.Server, Message: errSilent.Error()}
	}
	return err
}

// Progress is how far work on models is, over all hosts. The zero Progress is ready for use.
type Progress struct {
	mu    sync.Mutex
	began time.Time
	steps map[string]*step // by host
	order []string
}

// step is how far a host is.
type step struct {
	said  string                    // the host's last words
	parts map[string]completedTotal // by digest
}

type completedTotal struct{ completed, total int64 }

// tell takes in what a host says.
func (p *Progress) tell(host string, s backend.Step) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.steps == nil {
		p.steps, p.began = make(map[string]*step), time.Now()
	}
	at := p.steps[host]
	if at == nil {
		at = &step{parts: make(map[string]completedTotal)}
		p.steps[host] = at
		p.order = append(p.order, host)
	}
	if s.Digest != "" {
		at.parts[s.Digest] = completedTotal{s.Completed, max(s.Total, s.Completed)}
		at.said = "downloading"
		return
	}
	at.said = s.Status
}

// Now says how far the work is, in a line and in bytes, of which nothing may be known yet, and
// how long it will take; 0 if that is not known.
func (p *Progress) Now() (line string, done, of int64, rest time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.order) == 0 {
		return "asking the hosts", 0, 0, 0
	}
	var lines []string
	for _, host := range p.order {
		at := p.steps[host]
		var own, total int64
		for _, part := range at.parts {
			own, total = own+part.completed, total+part.total
		}
		done, of = done+own, of+total
		text := at.said + " on " + host
		if total > 0 {
			text += fmt.Sprintf(", %s of %s", Bytes(own), Bytes(total))
		}
		lines = append(lines, text)
	}
	if done > 0 {
		rest = time.Duration(float64(time.Since(p.began)) / float64(done) * float64(of-done))
	}
	return strings.Join(lines, "; "), done, of, rest
}

// Bytes is a number of bytes for people.
func Bytes(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f GB", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f kB", float64(n)/1e3)
}

// pull is a pull of a model to one host, for all who wait for it.
type pull struct {
	done   chan struct{} // closed at its end
	err    error         // set before done is closed
	cancel context.CancelCauseFunc

	waiting []*Progress // of the calls that wait; guarded by Manager.mu
	last    backend.Step
}

// Pull downloads a model to the host of that name, or else to the hosts that have it, or else to
// all. Pulls of one model to one host at the same time are one, which ends early when nobody
// waits for it any more.
func (m *Manager) Pull(ctx context.Context, model, host string, progress *Progress) ([]Outcome, error) {
	insecure, err := m.source(model)
	if err != nil {
		return nil, err
	}
	hosts, err := m.managed(host)
	if err != nil {
		return nil, err
	}
	var silent []Outcome
	if host == "" && len(hosts) > 1 {
		var without []Host
		hosts, without, silent = split(m.ask(ctx, hosts, backend.CanonicalModel(model)))
		if len(hosts) == 0 {
			hosts = without
		}
	}
	return settle(append(m.work(ctx, hosts, func(h Host) (string, error) {
		note, err := m.pull(ctx, h, model, insecure, progress)
		if err == nil {
			err = m.checkPulled(ctx, h, model)
		}
		return note, err
	}), silent...))
}

// checkPulled returns an error if a host does not list a model that it says it has pulled, and
// removes what there is of it. Ollama compares a part with its digest only when it has
// downloaded it, so a damaged one of an earlier pull, such as the description of the model,
// goes unseen, and would stay for ever.
func (m *Manager) checkPulled(ctx context.Context, h Host, model string) error {
	is := m.ask(ctx, []Host{h}, backend.CanonicalModel(model))[0]
	if is.err != nil || is.model != nil {
		return nil // a host that does not say has pulled it all the same
	}
	e := &fault.Error{
		Code: fault.Upstream, Message: fmt.Sprintf("%s has pulled %q but cannot read it, since a part from an earlier pull is damaged", h.Name(), model),
		Hint: "delete the model on that host with `ollama rm`, and pull it again",
	}
	if h.Delete(ctx, model) == nil {
		e.Hint, e.Retryable = "what there was of it has been removed, so pull it again", true
	}
	return e
}

// pull waits for the pull of a model to a host, which it begins unless it is under way.
func (m *Manager) pull(ctx context.Context, h Host, model string, insecure bool, progress *Progress) (note string, err error) {
	key := h.Name() + "\n" + backend.CanonicalModel(model)
	m.mu.Lock()
	p, joined := m.pulls[key]
	if joined {
		note = "it was being pulled already"
		progress.tell(h.Name(), p.last)
	} else {
		p = &pull{done: make(chan struct{}), last: backend.Step{Status: "pulling"}}
		m.pulls[key] = p
		var life context.Context
		life, p.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
		go m.run(life, h, model, insecure, p, key)
	}
	p.waiting = append(p.waiting, progress)
	m.mu.Unlock()
	select {
	case <-p.done:
		return note, p.err
	case <-ctx.Done():
		m.leave(p, key, progress, context.Cause(ctx))
		return "", ctx.Err()
	}
}

// leave ends somebody's wait for a pull, and with the last the pull.
func (m *Manager) leave(p *pull, key string, progress *Progress, cause error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if i := slices.Index(p.waiting, progress); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
	}
	if len(p.waiting) == 0 {
		p.cancel(cause)
		if m.pulls[key] == p {
			delete(m.pulls, key) // the next call starts a new pull
		}
	}
}

func (m *Manager) run(ctx context.Context, h Host, model string, insecure bool, p *pull, key string) {
	defer close(p.done)
	defer p.cancel(nil)
	p.err = untilSilent(ctx, h, func(ctx context.Context, heard func()) error {
		return h.Pull(ctx, model, insecure, func(s backend.Step) {
			heard()
			m.mu.Lock()
			defer m.mu.Unlock()
			p.last = s
			for _, progress := range p.waiting {
				progress.tell(h.Name(), s)
			}
		})
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.pulls[key] == p {
		delete(m.pulls, key)
	}
}
