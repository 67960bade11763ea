package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// This file measures streams through our gateway and through another one, beside a host that is
// asked directly.

// A gatewayKind is a gateway that can be started before the host at url. base is where Ollama's
// API begins.
type gatewayKind struct {
	name  string
	begin func(ctx context.Context, url, model string) (s *served, base string, err error)
}

// gatewayKinds are ours and thushan/olla, whose program is given.
func gatewayKinds(server []string, olla, temp string) []gatewayKind {
	return []gatewayKind{
		{"ours", func(ctx context.Context, url, _ string) (*served, string, error) {
			s, err := serveGateway(ctx, server, url)
			if err != nil {
				return nil, "", err
			}
			return s, s.url, nil
		}},
		{"olla", func(ctx context.Context, url, model string) (*served, string, error) {
			return serveOlla(ctx, olla, temp, url, model)
		}},
	}
}

// ollaConfig has no limits of rate and logs nothing, so that it does no more than ours.
const ollaConfig = `server:
  host: 127.0.0.1
  port: %s
  request_logging: false
  rate_limits: {global_requests_per_minute: 100000000, per_ip_requests_per_minute: 100000000, health_requests_per_minute: 100000000, burst_size: 1000000}
proxy: {engine: olla, profile: streaming, load_balancer: least-connections}
discovery:
  type: static
  static:
    endpoints:
      - {url: "%s", name: host, type: ollama, priority: 100, model_url: /api/tags, health_check_url: /api/version, check_interval: 5s, check_timeout: 2s}
  model_discovery: {enabled: true, interval: 5m, timeout: 30s, concurrent_workers: 2, retry_attempts: 3, retry_backoff: 1s}
model_registry: {type: memory, enable_unifier: true}
logging: {level: error}
`

func serveOlla(ctx context.Context, program, temp, url, model string) (_ *served, base string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	address := l.Addr().String()
	_ = l.Close() // it takes no address that is open
	_, port, _ := net.SplitHostPort(address)
	config := filepath.Join(temp, "olla.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, ollaConfig, port, url), 0o600); err != nil {
		return nil, "", err
	}
	s := &served{cmd: exec.CommandContext(ctx, program, "-config", config), url: "http://" + address}
	s.cmd.Dir, s.cmd.Env = temp, []string{"HOME=" + temp}
	if err := s.cmd.Start(); err != nil {
		return nil, "", err
	}
	base = s.url + "/olla/ollama"
	g := &gateway{base: base, model: model, prompt: prompt, client: http.DefaultClient}
	for range 300 {
		if _, err = g.call(ctx, -1); err == nil {
			return s, base, nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	s.close()
	return nil, "", fmt.Errorf("%s does not answer: %w", program, err)
}

// gateway is where streams are asked for.
type gateway struct {
	base   string
	model  string
	prompt string
	client *http.Client
}

// times of one stream.
type streamTimes struct{ first, piece time.Duration }

// call asks for a stream that nobody else has asked for, with a prompt that begins like no other, so that
// the host has to read all of it. piece is the time between two pieces.
func (g *gateway) call(ctx context.Context, n int) (t streamTimes, err error) {
	body := fmt.Sprintf(`{"model":%q,"messages":[{"role":"user","content":"%x, %d: %s"}]}`, g.model, rand.Uint64(), n, g.prompt)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.base+"/api/chat", strings.NewReader(body))
	if err != nil {
		return t, err
	}
	req.Header.Set("Content-Type", "application/json")
	sent := time.Now()
	resp, err := g.client.Do(req)
	if err != nil {
		return t, err
	}
	defer func() { _ = resp.Body.Close() }()
	pieces, last := 0, []byte(nil)
	for lines := bufio.NewReader(resp.Body); ; pieces++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return t, err
		}
		if last = line; pieces == 0 {
			t.first = time.Since(sent)
		}
	}
	if resp.StatusCode != http.StatusOK || pieces < 2 || !bytes.Contains(last, []byte(`"done":true`)) {
		return t, fmt.Errorf("HTTP %d after %d pieces: %.200s", resp.StatusCode, pieces, last)
	}
	t.piece = (time.Since(sent) - t.first) / time.Duration(pieces-1)
	return t, nil
}

// turn has callers ask one after the other, and returns the medians, in µs, and the calls that failed.
func (g *gateway) turn(ctx context.Context, callers, calls int) (first, piece float64, failed int) {
	next := make(chan int)
	var mu sync.Mutex // guards all of them
	var firsts, pieces []float64
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for n := range next {
				t, err := g.call(ctx, n)
				mu.Lock()
				if err != nil {
					failed++
				} else {
					firsts, pieces = append(firsts, micros(t.first)), append(pieces, micros(t.piece))
				}
				mu.Unlock()
			}
		})
	}
	for n := range calls {
		next <- n
	}
	close(next)
	all.Wait()
	if len(firsts) == 0 {
		return 0, 0, failed
	}
	return median(firsts), median(pieces), failed
}

// streamScenes are what the host is like. Its pieces are a millisecond apart.
var streamScenes = []scene{
	{name: "1 stream", callers: 1, service: 17 * time.Millisecond},
	{name: "8 streams", callers: 8, service: 17 * time.Millisecond},
	{name: "32 streams", callers: 32, service: 17 * time.Millisecond},
	{name: "8 streams, every tenth request gets 503", callers: 8, service: 17 * time.Millisecond, fault: 10},
}

// realScenes are those of a real Ollama. A tiny model answers the short prompt in a few milliseconds, so that what
// a gateway takes of the same cores is much beside it. The tiny models' tokens are bytes.
var realScenes = []scene{
	{name: "16 streams of a real Ollama", callers: 16, real: true},
	{name: "16 streams of a real Ollama, prompts of 240 tokens", callers: 16, real: true, tokens: 240},
}

// warmUps are the rounds before those that count. It takes some hundreds of calls to learn the slots of a host.
const warmUps = 3

// compareGateways has all gateways, and no gateway, play all scenes in turns.
func compareGateways(ctx context.Context, kinds []gatewayKind, p plan, w io.Writer) error {
	fmt.Fprintf(w, "%s, on %s\n", time.Now().Format("2 January 2006"), machine())
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer out.Flush()
	fmt.Fprintf(out, "medians of %d rounds of %d streams\tdirectly\t", p.rounds, p.calls)
	for _, kind := range kinds {
		fmt.Fprintf(out, "%s\t", kind.name)
	}
	fmt.Fprintln(out)
	for _, s := range append(slices.Clip(streamScenes), realScenes...) {
		if s.real && p.ollama == "" || !strings.Contains(s.name, p.only) {
			continue
		}
		if err := s.stream(ctx, kinds, p, out); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// stream plays one scene, before the real Ollama or pretend hosts. Each gateway has a pretend host of its
// own, and the first of all asks one directly.
func (s scene) stream(ctx context.Context, kinds []gatewayKind, p plan, w io.Writer) error {
	model, text, calls := model, prompt, s.calls(p)
	if s.real {
		model = p.model
	}
	if s.tokens > 0 {
		text = strings.Repeat("x", s.tokens)
	}
	type player struct {
		gateway
		server                        *served // nil for none
		first, piece, processor, rate []float64
		failed                        int
	}
	players := make([]*player, 1+len(kinds))
	for i := range players {
		at := p.ollamaURL()
		if !s.real {
			h, err := s.host()
			if err != nil {
				return err
			}
			defer h.close()
			at = h.url
		}
		transport := &http.Transport{MaxIdleConnsPerHost: s.callers}
		defer transport.CloseIdleConnections()
		players[i] = &player{gateway: gateway{base: at, model: model, prompt: text, client: &http.Client{Transport: transport}}}
		if i == 0 {
			continue
		}
		var err error
		if players[i].server, players[i].base, err = kinds[i-1].begin(ctx, at, model); err != nil {
			return fmt.Errorf("%s: %w", kinds[i-1].name, err)
		}
		defer players[i].server.close()
	}
	for round := range warmUps + p.rounds {
		for _, i := range rand.Perm(len(players)) {
			player := players[i]
			var before, after time.Duration
			var err error
			if player.server != nil {
				if before, err = player.server.used(); err != nil {
					return err
				}
			}
			began := time.Now()
			first, piece, failed := player.turn(ctx, s.callers, calls)
			took := time.Since(began)
			if player.server != nil {
				if after, err = player.server.used(); err != nil {
					return err
				}
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if round >= warmUps {
				player.first, player.piece = append(player.first, first), append(player.piece, piece)
				player.processor = append(player.processor, micros(after-before)/float64(calls))
				player.rate = append(player.rate, float64(calls-failed)/took.Seconds())
				player.failed += failed
			}
		}
	}
	for _, figure := range []struct {
		name  string
		value func(*player) float64
	}{
		{"to the first piece, µs", func(p *player) float64 { return median(p.first) }},
		{"from piece to piece, µs", func(p *player) float64 { return median(p.piece) }},
		{"processor time a stream, µs", func(p *player) float64 { return median(p.processor) }},
		{"streams a second", func(p *player) float64 { return median(p.rate) }},
		{"streams that failed, %", func(player *player) float64 { return 100 * float64(player.failed) / float64(p.rounds*calls) }},
	} {
		fmt.Fprintf(w, "%s: %s\t", s.name, figure.name)
		for player := range slices.Values(players) {
			fmt.Fprintf(w, "%.1f\t", figure.value(player))
		}
		fmt.Fprintln(w)
	}
	return nil
}
