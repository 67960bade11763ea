package inference_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/cache"
	"ollama-mcp/internal/backend"
	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/inference"
	"ollama-mcp/internal/route"
	"ollama-mcp/pool"
)

// story runs a test in which time is faked, with a client of an engine: once with the
// cache on, as users run it, and once with the cache off. With it on, each call has a
// tenant of its own, so that no call is answered from the cache by accident; sharing
// undoes that.
func story(t *testing.T, tell func(t *testing.T, c *client)) {
	t.Helper()
	for _, mode := range []string{"cache on", "cache off"} {
		t.Run(mode, func(t *testing.T) { storyWith(t, &client{cacheOff: mode == "cache off"}, tell) })
	}
}

// cacheStory is a story about the cache itself: all calls share it.
func cacheStory(t *testing.T, tell func(t *testing.T, c *client)) {
	t.Helper()
	storyWith(t, &client{shares: true}, tell)
}

func storyWith(t *testing.T, c *client, tell func(t *testing.T, c *client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c.t = t
		tell(t, c)
	})
}

// client makes requests to an engine on behalf of a caller.
type client struct {
	t         *testing.T
	who       caller.Caller
	cacheOff  bool
	shares    bool              // what is cached is shared by all calls of a tenant
	unlimited bool              // requests without a timeout have no deadline, instead of 55 s
	opts      inference.Options // what use leaves as it is
	models    map[string]inference.ForModel
	engine    *inference.Engine
}

// use makes an engine with a host, of which two calls may be worked on and two wait.
func (c *client) use(host *backendtest.Host) *backendtest.Host {
	c.t.Helper()
	c.useAll(pool.Options{Slots: 2, Queue: 2}, host)
	return host
}

// useAll makes an engine with hosts in a pool of their own.
func (c *client) useAll(o pool.Options, hosts ...*backendtest.Host) {
	c.t.Helper()
	c.useHosts(c.pool(o, hosts...))
}

func (c *client) useHosts(hosts inference.Hosts) {
	c.t.Helper()
	o := c.opts
	o.Hosts = hosts
	if !c.unlimited {
		o.Timeout = 55 * time.Second
	}
	if c.cacheOff {
		o.CacheMode = "off"
	} else if o.Cache == (cache.Options{}) {
		o.Cache = cache.Options{Size: 1 << 20, TTL: 10 * time.Minute}
	}
	if o.CacheMode == "" {
		o.CacheMode = "auto"
	}
	engine, err := inference.New(o)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(engine.Close)
	c.engine = engine
}

func (c *client) pool(o pool.Options, hosts ...*backendtest.Host) *pool.Pool {
	c.t.Helper()
	for _, host := range hosts {
		o.Hosts = append(o.Hosts, host.Open(c.t))
	}
	p, err := pool.New(o)
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

// ladder makes an engine with a host that has the models big and small, a cloud with the
// model gpt, and the alias pro, which tries all three.
func (c *client) ladder() (host, cloud *backendtest.Host) {
	c.t.Helper()
	host = backendtest.New("gpu-1").Answer("local").Install(backendtest.Model{Name: "big", Context: 256}, backendtest.Model{Name: "small", Context: 4096})
	cloud = backendtest.New("openai").Answer("from a cloud").Install(backendtest.Model{Name: "gpt"})
	l, err := route.NewLadders(map[string][]string{
		"pro:latest": {"big:latest", "small:latest", "openai/gpt"},
	}, nil, map[string]bool{"openai": true})
	if err != nil {
		c.t.Fatal(err)
	}
	c.set(&inference.Settings{Ladders: l, Providers: map[string]inference.Lender{"openai": c.pool(pool.Options{}, cloud)}})
	c.useAll(pool.Options{Slots: 1}, host)
	return host, cloud
}

// set makes the engines that are made from now on go by some settings.
func (c *client) set(s *inference.Settings) {
	c.opts.Settings = func() *inference.Settings { return s }
}

// as makes requests on behalf of another caller.
func (c *client) as(who caller.Caller) *client {
	other := *c
	other.who = who
	return &other
}

// failing makes a host fail all calls for some models.
func failing(host *backendtest.Host, fault backendtest.Fault, models ...string) {
	host.FailWhen(func(c backendtest.Call) backendtest.Fault {
		for _, model := range models {
			if strings.HasPrefix(c.Model, model) {
				return fault
			}
		}
		return nil
	})
}

// askedOf are the calls that a host got for a model.
func askedOf(host *backendtest.Host, model string) (calls []backendtest.Call) {
	for _, call := range host.Calls() {
		if strings.HasPrefix(call.Model, model) {
			calls = append(calls, call)
		}
	}
	return calls
}

// tenants counts the calls that have a tenant of their own.
var tenants atomic.Int64

// arguments are a request of any kind, in the JSON that the tools take too.
type arguments struct {
	Model          string
	Options        map[string]any
	KeepAlive      *backend.Duration `json:"keep_alive"`
	Truncate       *bool
	TimeoutSeconds float64 `json:"timeout_seconds"`
	Priority       string
	Host           string
	Cache          cache.Policy
	LocalOnly      bool `json:"local_only"`

	Prompt, System, Suffix string
	Raw                    bool
	Images                 []backend.ImageData
	Messages               []backend.Message
	Tools                  []backend.Tool
	Format                 json.RawMessage
	Think                  *backend.ThinkValue
	Fallback               []string `json:"fallback_models"`
	MinSimilarity          float64  `json:"min_similarity"`

	Input      []string
	Dimensions int
	Partial    bool
}

func (in arguments) common(who caller.Caller) inference.Common {
	common := inference.Common{
		Model: in.Model, Options: in.Options, KeepAlive: in.KeepAlive, Truncate: in.Truncate,
		Host: in.Host, Cache: in.Cache, LocalOnly: in.LocalOnly, Caller: who,
	}
	if in.TimeoutSeconds > 0 {
		common.Timeout = max(time.Duration(in.TimeoutSeconds*float64(time.Second)), 1)
	}
	if in.Priority == "batch" {
		common.Priority = route.Batch
	}
	return common
}

func (in arguments) request(kind inference.Kind, who caller.Caller) inference.Request {
	return inference.Request{
		Common: in.common(who), Kind: kind,
		Prompt: in.Prompt, System: in.System, Suffix: in.Suffix, Raw: in.Raw, Images: in.Images,
		Messages: in.Messages, Tools: in.Tools,
		Format: in.Format, Think: in.Think, Fallback: in.Fallback, MinSimilarity: in.MinSimilarity,
	}
}

// answer is what the engine returns for a request of any kind.
type answer struct {
	text     string // of an error, its line
	notes    string
	thinking string
	partial  string // what an error has got of an answer
	data     map[string]any
	vectors  [][]float32
	failed   []inference.FailedInput
	served   inference.Served
	err      *fault.Error // nil for an answer
}

// code is that of an error, and "" of an answer.
func (a answer) code() string {
	if a.err == nil {
		return ""
	}
	return string(a.err.Code)
}

func (a answer) String() string {
	return fmt.Sprintf("%s %q, notes %q, data %v, thinking %q, partial %q, %d vectors, served %+v",
		a.code(), a.text, a.notes, a.data, a.thinking, a.partial, len(a.vectors), a.served)
}

// call makes a request of a kind: generate, chat or embed.
func (c *client) call(ctx context.Context, kind, args string) (a answer) {
	var in arguments
	decoder := json.NewDecoder(bytes.NewReader([]byte(args)))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&in); err != nil {
		panic(fmt.Sprintf("%s: %v", args, err)) // the test is wrong
	}
	who := c.who
	if who.Tenant == "" && !c.shares {
		who.Tenant = fmt.Sprint("call ", tenants.Add(1))
	}
	var err error
	switch kind {
	case "embed":
		var got *inference.Embeddings
		got, err = c.engine.Embed(ctx, inference.EmbedRequest{Common: in.common(who), Input: in.Input, Dimensions: in.Dimensions, Partial: in.Partial})
		if err == nil {
			a = answer{vectors: got.Vectors, failed: got.Failed, notes: strings.Join(got.Notes, " "), served: got.Served}
		}
	default:
		var got *inference.Response
		kinds := map[string]inference.Kind{"generate": inference.Generate, "chat": inference.Chat}
		got, err = c.engine.Do(ctx, in.request(kinds[kind], who))
		if err == nil {
			a = answer{text: got.Text, notes: strings.Join(got.Notes, " "), thinking: got.Thinking, data: got.Data, served: got.Served}
		}
	}
	if err == nil {
		return a
	}
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		c.t.Errorf("%s %s: got the error %v of type %T", kind, args, err, err)
		e = fault.Of(err)
	}
	return answer{text: e.Error(), partial: e.Partial, thinking: e.Thinking, err: e}
}

// succeeds makes a request and wants an answer.
func (c *client) succeeds(kind, args string) answer {
	c.t.Helper()
	a := c.call(c.t.Context(), kind, args)
	if a.err != nil {
		c.t.Fatalf("%s %s: %s", kind, args, a.text)
	}
	return a
}

// fails makes a request and wants an error with that code and these words in its line.
func (c *client) fails(kind, args, code string, words ...string) answer {
	c.t.Helper()
	a := c.call(c.t.Context(), kind, args)
	if a.code() != code {
		c.t.Fatalf("%s %s: got %v, want the error %s", kind, args, a, code)
	}
	if strings.Contains(a.text, "\n") {
		c.t.Errorf("%s %s: more than a line: %q", kind, args, a.text)
	}
	for _, word := range words {
		if !strings.Contains(a.text, word) {
			c.t.Errorf("%s %s: %q is not in %q", kind, args, word, a.text)
		}
	}
	return a
}

// status is the state of the engine, as the client's caller may see it.
func (c *client) status() inference.Status { return c.engine.Status(c.who) }

// forget removes what is cached of a model, "" for all.
func (c *client) forget(model string) (removed int) {
	c.t.Helper()
	removed, _, err := c.engine.Forget(c.t.Context(), model)
	if err != nil {
		c.t.Error(err)
	}
	return removed
}

// observer calls functions; nil ones are left out.
type observer struct {
	event func(inference.Event)
	done  func(inference.Record)
	wants inference.Wants
}

func (o observer) Begin(*inference.CallInfo) inference.Wants { return o.wants }

func (o observer) Event(e inference.Event) {
	if o.event != nil {
		o.event(e)
	}
}

func (o observer) Done(r inference.Record) {
	if o.done != nil {
		o.done(r)
	}
}
