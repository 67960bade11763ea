// Package manage looks after the models of the hosts: it describes them, loads and unloads
// them, and pulls, copies, deletes and creates them.
//
// It promises that a name is checked before a host is asked, that nothing is replaced or pulled
// from elsewhere unless that was wanted, that equal pulls are one, that the outcome on each host
// is told apart, and that the fleet knows of a change before its caller does. Who may do what is
// left to the packages above, and answers of models are left to package inference.
package manage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/order"
)

// Host is a host whose models can be managed; that of package ollama is one. Its errors are of
// type *backend.Error.
type Host interface {
	backend.Backend
	Load(ctx context.Context, model string, options map[string]any, keep *backend.Duration) error
	Unload(ctx context.Context, model string) error
	Pull(ctx context.Context, model string, insecure bool, each func(backend.Step)) error
	Copy(ctx context.Context, from, to string) error
	Delete(ctx context.Context, model string) error
	Create(ctx context.Context, req *backend.CreateRequest, each func(backend.Step)) error
	HasBlob(ctx context.Context, digest string) (bool, error)
	SendBlob(ctx context.Context, digest string, file io.Reader, size int64) error
}

// Options configure a Manager. Hosts is needed.
type Options struct {
	Hosts func() []backend.Backend // all that there are, in the order of the configuration

	// Ill are the names of hosts that are not well while others are, so that nobody waits long for them; nil for none.
	Ill func() []string
	// Runner are the options with which calls load a model, given by its canonical name; nil
	// for none.
	Runner func(model string) map[string]any
	// Changed waits, though not for long, until the fleet knows that the models of a host have
	// changed; nil for nobody to be told.
	Changed func(ctx context.Context, host string)

	// Registries are those from which models may be pulled besides Ollama's own: host, or
	// host:port, with http:// before it where it is to be asked over plain HTTP.
	Registries []string
	NoCloud    bool // no model may be pulled that runs in Ollama's cloud
}

// Manager manages the models of hosts. Use New to make one. Its methods may be called from many
// goroutines.
type Manager struct {
	opts Options

	mu    sync.Mutex       // guards pulls and what says so; never held while waiting
	pulls map[string]*pull // under way, by host and model
}

// New makes a manager, which starts nothing.
func New(o Options) *Manager {
	if o.Runner == nil {
		o.Runner = func(string) map[string]any { return nil }
	}
	if o.Ill == nil {
		o.Ill = func() []string { return nil }
	}
	if o.Changed == nil {
		o.Changed = func(context.Context, string) {}
	}
	return &Manager{opts: o, pulls: make(map[string]*pull)}
}

// Outcome is how a piece of work went on one host.
type Outcome struct {
	Host string
	Note string // what to know of it; "" for nothing
	Err  error  // why it failed; nil if it has not
}

// How long a host is given to say what it has, and one that is not well.
const (
	lookTimeout = 10 * time.Second
	illTimeout  = 2 * time.Second
)

// managed are the hosts that can be managed: the one of that name, or all if there is none.
func (m *Manager) managed(name string) (hosts []Host, err error) {
	var names []string
	for _, b := range m.opts.Hosts() {
		names = append(names, b.Name())
		host, ok := b.(Host)
		if ok = ok && !backend.IsCloud(b); ok && (name == "" || name == b.Name()) {
			hosts = append(hosts, host)
		} else if !ok && name == b.Name() {
			return nil, fault.Invalidf("the models of the host %q cannot be managed from here", name)
		}
	}
	switch {
	case len(hosts) == 0 && name != "":
		return nil, fault.Invalidf("unknown host %q; known are %s", name, strings.Join(names, ", "))
	case len(hosts) == 0:
		return nil, fault.Invalidf("there is no host whose models can be managed")
	}
	return hosts, nil
}

// holder is a host that was asked whether it has a model.
type holder struct {
	Host
	model *backend.Model // nil if it has none of that name
	err   error          // why it did not say
}

// ask asks hosts, all at the same time, whether they have a model.
func (m *Manager) ask(ctx context.Context, hosts []Host, model string) []holder {
	all := make([]holder, len(hosts))
	errs := m.look(ctx, hosts, func(ctx context.Context, i int) error {
		models, err := hosts[i].Models(ctx)
		for k := range models {
			if backend.CanonicalModel(models[k].Name) == model {
				all[i].model = &models[k]
			}
		}
		return err
	})
	for i, host := range hosts {
		all[i].Host, all[i].err = host, errs[i]
	}
	return all
}

// look has hosts, all at the same time, say something within the time that each is given for that. It returns why a
// host has not; nil if it has.
func (m *Manager) look(ctx context.Context, hosts []Host, ask func(ctx context.Context, i int) error) []error {
	ill, errs := m.opts.Ill(), make([]error, len(hosts))
	each(hosts, func(i int, host Host) {
		limit := lookTimeout
		if slices.Contains(ill, host.Name()) {
			limit = illTimeout
		}
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		if errs[i] = ask(ctx, i); errors.Is(errs[i], context.DeadlineExceeded) {
			errs[i] = &fault.Error{
				Code: fault.Timeout, Message: fmt.Sprintf("%s: no answer within %v", host.Name(), limit), Retryable: true,
				Hint: "try again; if it happens again, `ollama-mcp doctor` tells more",
			}
		}
	})
	return errs
}

// split tells the hosts that have a model from those that have not, and has the outcome on those
// that did not say.
func split(all []holder) (with, without []Host, silent []Outcome) {
	for _, h := range all {
		switch {
		case h.err != nil:
			silent = append(silent, Outcome{Host: h.Name(), Err: h.err})
		case h.model != nil:
			with = append(with, h.Host)
		default:
			without = append(without, h.Host)
		}
	}
	return with, without, silent
}

// each works on all hosts at the same time.
func each(hosts []Host, work func(i int, host Host)) {
	var all sync.WaitGroup
	for i, host := range hosts {
		all.Go(func() { work(i, host) })
	}
	all.Wait()
}

// holders are the hosts that have a model, of those of that name, and the outcome on those that
// did not say. It fails if there are none.
func (m *Manager) holders(ctx context.Context, model, host string) (with []Host, silent []Outcome, err error) {
	hosts, err := m.managed(host)
	if err != nil {
		return nil, nil, err
	}
	with, _, silent = split(m.ask(ctx, hosts, backend.CanonicalModel(model)))
	switch {
	case len(with) == 0 && len(silent) == len(hosts):
		return nil, nil, silent[0].Err
	case len(with) == 0:
		return nil, nil, notInstalled(model, host)
	}
	return with, silent, nil
}

func notInstalled(model, host string) error {
	where := "no host has"
	if host != "" {
		where = host + " does not have"
	}
	return &fault.Error{
		Code: fault.ModelNotFound, Message: fmt.Sprintf("%s the model %q", where, model),
		Hint: "list-models names those that are installed, and pull-model installs one if this server allows it",
	}
}

// work does something on hosts at the same time, and has the fleet know of it.
func (m *Manager) work(ctx context.Context, hosts []Host, do func(Host) (note string, err error)) []Outcome {
	all := make([]Outcome, len(hosts))
	each(hosts, func(i int, host Host) {
		all[i].Host = host.Name()
		all[i].Note, all[i].Err = do(host)
		all[i].Err = explain(all[i].Err)
		// An action that failed may have changed something too, and its caller may have left.
		m.opts.Changed(context.WithoutCancel(ctx), host.Name())
	})
	return all
}

// onHolders does something on all hosts that have a model, of those of that name.
func (m *Manager) onHolders(ctx context.Context, model, host string, do func(Host) (note string, err error)) ([]Outcome, error) {
	if err := checkName("model", model); err != nil {
		return nil, err
	}
	hosts, silent, err := m.holders(ctx, model, host)
	if err != nil {
		return nil, err
	}
	return settle(append(m.work(ctx, hosts, do), silent...))
}

// settle is the outcome on several hosts. It is an error if all have failed.
func settle(all []Outcome) ([]Outcome, error) {
	order.Stable(all, func(a, b Outcome) int { return strings.Compare(a.Host, b.Host) })
	if len(all) == 0 || slices.ContainsFunc(all, func(o Outcome) bool { return o.Err == nil }) {
		return all, nil
	}
	if len(all) == 1 {
		return all, all[0].Err
	}
	e := fault.Of(all[0].Err)
	for _, o := range all[1:] {
		e.Message += "; " + fault.Of(o.Err).Message
	}
	return all, e
}

// Load loads a model into memory. keep is how long it stays there without a call; nil leaves
// that to the hosts.
func (m *Manager) Load(ctx context.Context, model, host string, keep *backend.Duration) ([]Outcome, error) {
	return m.onHolders(ctx, model, host, func(h Host) (string, error) {
		inCloud, err := backend.RunsInCloud(ctx, h, model)
		if err != nil {
			return "", err
		}
		if inCloud { // the host would pass the request on
			return "", &fault.Error{
				Code: fault.InvalidArgument, Message: fmt.Sprintf("%s: the model %q runs in Ollama's cloud, so there is nothing to load", h.Name(), model),
				Hint: "load a model that the host runs itself; list-models marks those that run in a cloud",
			}
		}
		return "", h.Load(ctx, model, m.opts.Runner(backend.CanonicalModel(model)), keep)
	})
}

// unloadTimeout is how long it is waited for a model to have left memory.
const unloadTimeout = 5 * time.Second

// Unload takes a model out of memory.
func (m *Manager) Unload(ctx context.Context, model, host string) ([]Outcome, error) {
	return m.onHolders(ctx, model, host, func(h Host) (string, error) {
		loaded, err := isLoaded(ctx, h, model)
		if err == nil && !loaded {
			return "it was not in memory", nil
		}
		return unload(ctx, h, model)
	})
}

// unload has a model leave memory, and says so if it has not done so yet.
func unload(ctx context.Context, h Host, model string) (note string, err error) {
	if err := h.Unload(ctx, model); err != nil {
		return "", err
	}
	for end := time.Now().Add(unloadTimeout); time.Now().Before(end); {
		if loaded, err := isLoaded(ctx, h, model); err != nil || !loaded {
			return "", nil // a host that does not say has been told all the same
		}
		select {
		case <-time.After(unloadTimeout / 50):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	return "calls are using it; it leaves memory when they have ended", nil
}

func isLoaded(ctx context.Context, h Host, model string) (bool, error) {
	running, err := h.Running(ctx)
	return slices.ContainsFunc(running, func(r backend.RunningModel) bool {
		return backend.CanonicalModel(r.Name) == backend.CanonicalModel(model)
	}), err
}

// Copy gives a model a second name on all hosts that have it. It replaces no model unless
// overwrite is set.
func (m *Manager) Copy(ctx context.Context, from, to, host string, overwrite bool) ([]Outcome, error) {
	if err := checkName("destination", to); err != nil {
		return nil, err
	}
	return m.onHolders(ctx, from, host, func(h Host) (string, error) {
		if err := m.vacant(ctx, h, to, overwrite); err != nil {
			return "", err
		}
		return "", h.Copy(ctx, from, to)
	})
}

// vacant refuses a name under which a host has a model already.
func (m *Manager) vacant(ctx context.Context, h Host, name string, overwrite bool) error {
	if overwrite {
		return nil
	}
	is := m.ask(ctx, []Host{h}, backend.CanonicalModel(name))[0]
	if is.err != nil || is.model == nil {
		return is.err
	}
	return &fault.Error{
		Code: fault.InvalidArgument, Message: fmt.Sprintf("%s has a model %q already", h.Name(), name),
		Hint: "choose another name, or say overwrite: true",
	}
}

// Delete removes a model from all hosts that have it. Calls that are using it end well.
func (m *Manager) Delete(ctx context.Context, model, host string) ([]Outcome, error) {
	return m.onHolders(ctx, model, host, func(h Host) (note string, err error) {
		if loaded, err := isLoaded(ctx, h, model); err == nil && loaded {
			if note, err = unload(ctx, h, model); err != nil {
				return "", err
			}
		}
		return note, h.Delete(ctx, model)
	})
}

// Holders are the names of the hosts that have a model, of those of that name.
func (m *Manager) Holders(ctx context.Context, model, host string) (names []string, err error) {
	if err := checkName("model", model); err != nil {
		return nil, err
	}
	with, _, err := m.holders(ctx, model, host)
	for _, h := range with {
		names = append(names, h.Name())
	}
	return names, err
}
