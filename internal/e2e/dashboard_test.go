package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"ollama-mcp/internal/e2e/clients"
	"ollama-mcp/internal/e2e/ollamatest"
	"ollama-mcp/internal/e2e/procgroup"
	"ollama-mcp/internal/e2e/tinymodels"
)

// browser is a Chromium that runs what it is told in JavaScript.
type browser struct {
	t       *testing.T
	in      io.Writer
	answers *bufio.Reader
}

func startBrowser(t *testing.T) *browser {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("there is no chromium: see make needs")
	}
	cmd, err := clients.Command(deadline(t), "browser.mjs", chromium)
	if err != nil {
		t.Fatal(err)
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr buffer
	cmd.Stderr = &stderr
	group, err := procgroup.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_, _ = io.Copy(io.Discard, out)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the browser ended with %v: %s", err, stderr.tail())
		}
		group.Kill()
	})
	b := &browser{t, in, bufio.NewReader(out)}
	b.run(`
		page.problems = [];
		page.on('pageerror', (e) => page.problems.push(e.message));
		page.on('console', (m) => { if (m.type() === 'error' && !m.text().startsWith('Failed to load resource')) page.problems.push(m.text()); });
		page.on('request', (r) => { if (!new URL(r.url()).hostname.startsWith('127.')) page.problems.push('asks ' + r.url()); });`)
	return b
}

// run runs a program, and returns its result as text.
func (b *browser) run(program string, args ...any) string {
	b.t.Helper()
	line, err := json.Marshal(fmt.Sprintf(program, args...))
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := fmt.Fprintf(b.in, "%s\n", line); err != nil {
		b.t.Fatal(err)
	}
	text, err := b.answers.ReadBytes('\n')
	if err != nil {
		b.t.Fatal(err)
	}
	var answer struct {
		Value any
		Error string
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.Error != "" {
		b.t.Fatalf("%s: %v %s", program, err, answer.Error)
	}
	return fmt.Sprint(answer.Value)
}

// shows waits until an element has a text.
func (b *browser) shows(selector, text string) {
	b.t.Helper()
	b.run(`
		const all = page.locator(%q), text = %q, end = Date.now() + 180_000;
		for (let seen = ''; ; await page.waitForTimeout(50)) {
			if (await all.count() && await all.first().isVisible()) seen = await all.first().innerText({ timeout: 1000 }).catch(() => '');
			if (seen.includes(text)) return;
			if (Date.now() > end) throw new Error(text + ' is not in: ' + seen);
		}`, selector, text)
}

// logIn enters a key.
func (b *browser) logIn(key string) {
	b.t.Helper()
	b.run(`await page.fill('#key', %q); await page.keyboard.press('Enter')`, key)
}

// complains reports what the browser has to complain about.
func (b *browser) complains() {
	b.t.Helper()
	if problems := b.run(`return page.problems.join('; ')`); problems != "" {
		b.t.Errorf("the browser complains: %s", problems)
	}
}

// cancels presses the button of a call twice, at once: after four seconds it would ask again.
func (b *browser) cancels(button string) {
	b.t.Helper()
	if asked := b.run(`return page.locator(%q).evaluate((b) => { b.click(); const asked = b.innerText; b.click(); return asked; })`, button); asked != "Cancel it?" {
		b.t.Errorf("the button asks %q", asked)
	}
}

// strange is the name of a caller that must not become a part of the page.
const strange = `<img src=x onerror="document.title='owned'">`

// withKeys starts the program with an administrator, a caller, and one with a strange name.
func withKeys(t *testing.T, ollama *ollamatest.Server) (server *listening, admin, caller, evil string) {
	t.Helper()
	file, keys := keysFile(t)
	server = serve(t, command(deadline(t), ollama.URL(), "--listen", "127.0.0.1:0", "--slots=1", "--token-file", file))
	return server, keys[0], keys[1], keys[2]
}

// keysFile is a file with the keys of an administrator, of laura, and of a caller with a strange name.
func keysFile(t *testing.T) (file string, keys []string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "keys.yaml")
	text := ""
	for _, name := range []string{"root", "laura", strange} {
		key, line, status := shell(t, nobody, "token", "new", "name")
		if status != 0 {
			t.Fatalf("token new: status %d, %s", status, line)
		}
		quoted, _ := json.Marshal(name)
		sum := find(t, line, `sha256: ?"?([0-9a-f]{64})`)
		text += fmt.Sprintf("- {name: %s, sha256: %q, admin: %v}\n", quoted, sum, name == "root")
		keys = append(keys, strings.TrimSpace(key))
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, keys
}

// post calls a tool, and returns the response.
func (l *listening) post(key, tool, args string) string {
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, tool, args)
	req, err := http.NewRequest("POST", l.url()+"/mcp", bytes.NewReader([]byte(body)))
	if err != nil {
		return err.Error()
	}
	req.Header = http.Header{"Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func TestDashboardInABrowserShowsWhatStatusSaysAndCancels(t *testing.T) {
	t.Parallel()
	ollama := ollamatest.Start(t, ollamatest.Options{Models: []tinymodels.Model{tinymodels.Loops, tinymodels.Says}})
	server, admin, laura, evil := withKeys(t, ollama)
	b := startBrowser(t)

	// Callers who are refused see nothing.
	b.run(`await page.goto(%q)`, server.url()+"/")
	b.shows("#login", "Key of an administrator")
	for key, message := range map[string]string{"nonsense": "the key is not known", laura: "not that of an administrator"} {
		b.logIn(key)
		b.shows("#login-error", message)
	}
	if all := b.run(`return page.content()`); strings.Contains(all, hostName(ollama)) || b.run(`return page.isVisible('#page')`) != "false" {
		t.Errorf("somebody who is refused sees %s", all)
	}
	b.logIn(admin)
	b.shows("#link", "live")

	// Load: an answer, the same from the cache, one that goes on, and two that wait.
	for range 2 {
		server.post(laura, "generate", `{"model":"tiny-says","prompt":"hi"}`)
	}
	first, waits := make(chan string, 1), make(chan string, 2)
	go func() { first <- server.post(laura, "generate", `{"model":"tiny-loops","prompt":"one"}`) }()
	b.shows("#running-rows", "answering")
	go func() { waits <- server.post(laura, "generate", `{"model":"tiny-says","prompt":"two"}`) }()
	b.shows("#running-rows", "queued, 1st of 1")
	go func() { waits <- server.post(evil, "generate", `{"model":"tiny-loops","prompt":"three"}`) }()
	b.shows("#running-rows", "of 2")

	// Each panel shows what status says.
	var status struct {
		Result struct {
			Data struct {
				Hosts []struct {
					Name, Version string
					Busy, Slots   int
					Breaker       string
				}
				Queue struct {
					Waiting, Interactive, Batch int
					Callers                     map[string]int
				}
				Cache     struct{ Entries, Hits, Misses int }
				Calls     struct{ Served int }
				Dashboard string
			} `json:"structuredContent"`
		}
	}
	if err := json.Unmarshal([]byte(server.post(admin, "status", `{}`)), &status); err != nil {
		t.Fatal(err)
	}
	s := status.Result.Data
	if len(s.Hosts) != 1 || s.Queue.Waiting != 2 || len(s.Queue.Callers) != 2 || s.Dashboard != server.url()+"/" {
		t.Fatalf("status: %+v", s)
	}
	h := s.Hosts[0]
	for selector, wants := range map[string][]string{
		"#facts":      {fmt.Sprintf("%d of %d slot", h.Busy, h.Slots), fmt.Sprintf("Waiting\n%d", s.Queue.Waiting), fmt.Sprintf("Answered\n%d", s.Calls.Served)},
		"#host-list":  {h.Name, "healthy", fmt.Sprintf("%d of %d slot in use", h.Busy, h.Slots), "Breaker " + h.Breaker, "Ollama " + h.Version, "tiny-loops:latest"},
		"#queue":      {fmt.Sprintf("%d calls, %d interactive, %d batch", s.Queue.Waiting, s.Queue.Interactive, s.Queue.Batch), "laura – 1 call", strange + " – 1 call", "1st of 2", "2nd of 2"},
		"#running":    {"laura", strange, "only host with a free slot"},
		"#cache":      {fmt.Sprintf("%d of %d look-ups", s.Cache.Hits, s.Cache.Hits+s.Cache.Misses), fmt.Sprintf("%d, ", s.Cache.Entries)},
		"#usage-rows": {"laura", "tiny-says:latest"},
		"#ladders":    {"all breakers are closed"},
		"#calls-rows": {"tiny-says", "cache", hostName(ollama)},
	} {
		for _, want := range wants {
			b.shows(selector, want)
		}
	}
	if got := b.run(`return page.title()`); got != "2 waiting – ollama-mcp" {
		t.Errorf("the title is %q", got)
	}

	// The details of a call say where its time went and why, and filters leave calls out.
	b.run(`await page.locator('#calls-rows tr:last-child button').focus(); await page.keyboard.press('Enter')`)
	for _, want := range []string{"Why this host: ", "The first rung answered.", "miss: neither this nor a similar request was kept", "Trace"} {
		b.shows(".detail", want)
	}
	b.run(`await page.selectOption('#f-outcome', 'cache')`)
	b.shows("#calls-n", "1 of 3 calls")
	b.run(`await page.selectOption('#f-outcome', '')`)

	for name, size := range map[string][2]int{"wide": {1280, 900}, "phone": {390, 844}} {
		b.run(`await page.setViewportSize({ width: %d, height: %d })`, size[0], size[1])
		if over := b.run(`return page.evaluate(() => document.documentElement.scrollWidth - innerWidth)`); over != "0" {
			t.Errorf("%s: the page is %s pixels too wide", name, over)
		}
		if dir := os.Getenv("SCREENSHOTS"); dir != "" {
			b.run(`await page.screenshot({ path: %q })`, filepath.Join(dir, name+".png"))
		}
	}
	b.run(`await page.setViewportSize({ width: 1280, height: 900 })`)

	// Cancelling takes two presses, and stops Ollama.
	before := ended(ollama, "/api/generate")
	button := `#running-rows tr:has-text("answering") button`
	b.cancels(button)
	if got := <-first; !strings.Contains(got, "an administrator of the server has cancelled it") {
		t.Errorf("the caller was told %.300s", got)
	}
	eventually(t, "Ollama has stopped", func() bool { return ended(ollama, "/api/generate") > before })
	b.shows("#calls-rows", "cancelled")
	b.shows(`#running-rows tr:has-text("tiny-loops")`, "answering") // it is the turn of the last
	b.cancels(button)
	for range 2 {
		<-waits
	}
	b.shows("#running-none", "No call is under way")
	if got := b.run(`return page.title()`); got == "owned" || b.run(`return page.locator('img').count()`) != "0" {
		t.Errorf("the name of a caller became a part of the page, whose title is %s", got)
	}

	b.run(`await page.click('#logout')`)
	b.shows("#login", "Log in")
	if all := b.run(`return page.content()`); strings.Contains(all, hostName(ollama)) {
		t.Error("after logging out the page has data")
	}
	b.complains()
}

func TestDashboardGoesOnAfterTheServerWasStartedAnew(t *testing.T) {
	t.Parallel()
	server := listen(t, "127.0.0.1:0")
	b := startBrowser(t)
	b.run(`await page.goto(%q)`, server.url()+"/")
	b.shows("#link", "live")
	server.post("", "generate", `{"model":"tiny-says","prompt":"before the restart"}`)
	b.shows("#calls-n", "1 call")

	addr := server.addr
	server.stop()
	b.shows("#link", "reconnecting")
	server = listen(t, addr)
	b.shows("#link", "live")
	b.shows("#calls-none", "No call has ended since the server started.")
	answer := make(chan string, 1)
	go func() { answer <- server.post("", "generate", `{"model":"tiny-loops","prompt":"after the restart"}`) }()
	b.shows("#running-rows", "answering")
	b.cancels("#running-rows button")
	if got := <-answer; !strings.Contains(got, "cancelled") {
		t.Errorf("got %.300s", got)
	}
	b.complains()
}

// As docs/teams.md configures nginx: with a prefix, with TLS that ends there, and with nginx's buffers.
func TestDashboardBehindNginxWithAPrefixOverARestart(t *testing.T) {
	t.Parallel()
	file, keys := keysFile(t)
	admin, laura := keys[0], keys[1]
	start := func(addr string) *listening {
		return serve(t, command(deadline(t), shared.URL(), "--listen", addr, "--trust-proxy=127.0.0.1", "--token-file", file))
	}
	server := start("127.0.0.1:0")
	page, err := os.ReadFile(path(t, "..", "..", "docs", "teams.md"))
	if err != nil {
		t.Fatal(err)
	}
	location := find(t, string(page), "(?s)```nginx\n(.*?)```")
	const before = "# Clients look for an authorization server here"
	address, _ := nginxAt(t, server.addr, before, strings.ReplaceAll(location, "127.0.0.1:8383", server.addr)+before, "proxy_buffering off;", "")

	b := startBrowser(t)
	b.run(`await page.goto('https://%s/ollama')`, address)
	b.shows("#login", "Key of an administrator") // though nginx connects from this machine
	b.logIn(admin)
	b.shows("#link", "live")
	got := b.run(`return (await context.cookies('https://%s/ollama/dashboard/events')).map((c) => [c.path, c.secure, c.httpOnly, c.sameSite].join(' ')).join()`, address)
	if want := "/ollama/dashboard true true Strict"; got != want {
		t.Errorf("the cookie is %q, want %q", got, want)
	}

	answer := make(chan string, 1)
	go func() { answer <- server.post(laura, "generate", `{"model":"tiny-loops","prompt":"through nginx"}`) }()
	b.shows("#running-rows", "answering")
	b.cancels("#running-rows button")
	if got := <-answer; !strings.Contains(got, "an administrator of the server has cancelled it") {
		t.Errorf("the caller was told %.300s", got)
	}
	b.shows("#calls-rows", "cancelled")

	server.stop()
	b.shows("#link", "reconnecting") // nginx answers that there is nobody
	server = start(server.addr)
	b.shows("#login", "Key of an administrator") // who has logged in is in memory
	b.logIn(admin)
	b.shows("#link", "live")
	server.post(laura, "generate", `{"model":"tiny-says","prompt":"after the restart"}`)
	b.shows("#calls-n", "1 call")
	b.complains()
}

// rehearsed is what a page loads before its own script: events come from window.tell, not from the
// server, and window.hide says whether somebody sees the page. page.clock makes the time.
const rehearsed = `
	await page.clock.install({ time: new Date('2026-03-01T12:00:00Z') });
	await page.clock.pauseAt(new Date('2026-03-01T13:00:00Z')); // from here on it stands still
	await page.addInitScript(() => {
		let hidden = false, n = 0, last = null;
		window.opened = 0;
		window.isOpen = () => last !== null && last.readyState === 1;
		window.EventSource = class extends EventTarget {
			constructor() { super(); this.readyState = 1; window.opened++; last = this; }
			close() { this.readyState = 2; }
		};
		window.EventSource.CLOSED = 2;
		window.fetch = async () => new Response(JSON.stringify({ token: 't' }), { headers: { 'Content-Type': 'application/json' } });
		Object.defineProperty(document, 'hidden', { get: () => hidden });
		window.hide = (yes) => { hidden = yes; document.dispatchEvent(new Event('visibilitychange')); };
		window.alive = () => last.dispatchEvent(new Event('alive'));
		// tell sends an event with so many calls and changes that are over, all unlike those before.
		window.tell = (calls, more) => {
			const texts = (k) => ({ n: ++n, trace: 'trace ' + n, tool: 'tool ' + (n & 7), caller: 'caller ' + n, began: n, took: 10, model: 'model ' + n, err: 'x'.repeat(300) });
			const state = {
				version: 'v1', began: 1, hosts: [{ name: 'a', well: true, since: 0, busy: 0, slots: 1, breaker: 'closed' }], queue: { waiting: (n & 3), interactive: 0, batch: 0, bytes: 0 }, live: [],
				totals: { call_rate: 0, served: n, failed: 0, refused: 0, retries: 0, retries_left: 0, in_flight: 0 },
				cache: { hits: n, misses: 0, coalesced: 0, entries: 0, bytes: 0, evicted: 0, expired: 0, refused: 0, saved: 0 }, ladders: [], usage: { rows: [] },
			};
			last.onmessage({ data: JSON.stringify({
				now: 1000, state, calls: Array.from({ length: calls }, texts), changes: Array.from({ length: calls }, () => ({ at: n, kind: 'host', name: 'host ' + n, state: 'up', why: 'x'.repeat(300) })),
				samples: [{ at: n, waiting: 0, hosts: [{ name: 'a', busy: (n & 1), slots: 1 }] }], ...more,
			}) });
		};
	});`

func TestDashboardInABackgroundTabLeavesAndCatchesUp(t *testing.T) {
	t.Parallel()
	b := startBrowser(t)
	b.run(rehearsed)
	b.run(`await page.goto(%q); await page.waitForFunction(() => opened === 1)`, listen(t, "127.0.0.1:0").url()+"/")
	is := func(what string, opened int, open bool) {
		t.Helper()
		if got := b.run(`return page.evaluate(() => opened + ' ' + isOpen())`); got != fmt.Sprint(opened, " ", open) {
			t.Errorf("%s: got %s, want %d streams in all, and that one is open: %v", what, got, opened, open)
		}
	}
	b.run(`await page.evaluate(() => tell(3, { full: true })); await page.click('#calls-rows tr:last-child button')`)
	b.run(`await page.evaluate(() => hide(true)); await page.clock.runFor(30_000); await page.evaluate(() => hide(false)); await page.clock.runFor(10_000); await page.evaluate(() => alive())`)
	is("hidden for half a minute", 1, true)
	b.run(`await page.evaluate(() => hide(true)); await page.clock.runFor(61_000)`)
	is("hidden for more than a minute", 1, false)
	if got := b.run(`return page.title()`); got != "ollama-mcp" {
		t.Errorf("while it does not look, the title is %q", got)
	}
	b.run(`await page.clock.fastForward('23:00:00')`)
	is("hidden for a day", 1, false)
	b.run(`await page.evaluate(() => hide(false)); await page.waitForFunction(() => opened === 2); await page.evaluate(() => tell(5, { full: true }))`)
	is("shown again", 2, true)
	b.shows("#calls-n", "5 calls")
	b.shows("#link", "live")

	// A connection that is dead without saying so is made anew, and one that lives is kept.
	b.run(`for (let i = 0; i < 10; i++) { await page.clock.runFor(15_000); await page.evaluate(() => alive()); }`)
	is("nothing has changed for some minutes", 2, true)
	b.run(`await page.clock.runFor(60_000); await page.waitForFunction(() => opened === 3)`)
	is("nothing was heard for a minute", 3, true)
	b.complains()
}

func TestDashboardIsNoLargerAfterADay(t *testing.T) {
	t.Parallel()
	b := startBrowser(t)
	b.run(rehearsed)
	b.run(`await page.goto(%q); await page.waitForFunction(() => opened === 1)`, listen(t, "127.0.0.1:0").url()+"/")
	// 20,000 calls and as many changes while nobody sees the page, and some while somebody does.
	const day = `await page.evaluate(() => {
		hide(true);
		for (let i = 0; i < 200; i++) tell(100);
		hide(false);
		for (let i = 0; i < 5; i++) tell(50);
	})`
	const size = `const dev = await context.newCDPSession(page);
		await dev.send('HeapProfiler.enable');
		await dev.send('HeapProfiler.collectGarbage');
		const all = await page.evaluate(() => document.querySelectorAll('*').length);
		return [all, Math.round((await dev.send('Runtime.getHeapUsage')).usedSize / 1024)].join(' ')`
	b.run(day)
	before := b.run(size)
	b.run(day)
	after := b.run(size)
	var elements, kib [2]int
	for i, text := range []string{before, after} {
		if _, err := fmt.Sscan(text, &elements[i], &kib[i]); err != nil {
			t.Fatal(text, err)
		}
	}
	if elements[1] > elements[0]+100 || elements[1] > 20_000 {
		t.Errorf("the page has %d elements after 20,000 calls, and %d after 40,000", elements[0], elements[1])
	}
	if kib[1] > kib[0]+5000 { // the calls and changes alone would be some 20 MB
		t.Errorf("the page has %d KiB after 20,000 calls, and %d after 40,000", kib[0], kib[1])
	}
	b.complains()
}

func TestDashboardTellsAgesRightWhenTheClockOfTheBrowserIsSet(t *testing.T) {
	t.Parallel()
	b := startBrowser(t)
	b.run(rehearsed)
	b.run(`await page.goto(%q); await page.waitForFunction(() => opened === 1)`, listen(t, "127.0.0.1:0").url()+"/")
	b.run(`await page.evaluate(() => tell(1, { full: true, now: 7_200_001 }))`) // two hours after the server began
	b.shows("#about", "up 2 h 0 min")
	for _, year := range []string{"1999", "2041"} {
		b.run(`await page.clock.setSystemTime(new Date('%s-06-01T12:00:00Z')); await page.clock.runFor(60_000); await page.evaluate(() => alive())`, year)
	}
	b.shows("#about", "up 2 h 2 min")
	b.complains()
}
