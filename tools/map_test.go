package tools_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/caller"
	"ollama-mcp/pool"
)

// mapped is the result of map as programs read it.
type mapped struct {
	Inputs, Answered, Failed, Unasked, Reused, Duplicates, Offset, Pages, Bytes int
	TokensIn                                                                    int `json:"tokens_in"`
	TokensOut                                                                   int `json:"tokens_out"`
	Results                                                                     []mappedRow
	Path, URI                                                                   string
	Notes                                                                       []string
}

type mappedRow struct {
	Index        int
	Name, Output string
	Data         map[string]any
	Error        *struct{ Code, Message string }
	Partial      string
}

// maps calls map, which must succeed.
func (c *client) maps(args string) (m mapped) {
	c.t.Helper()
	a := c.succeeds("map", args)
	if err := json.Unmarshal([]byte(a.Content[0].Text), &m); err != nil {
		c.t.Fatalf("%s: %v", a.Content[0].Text, err)
	}
	if m.Answered+m.Failed+m.Unasked != m.Inputs {
		c.t.Errorf("the parts do not add up: %+v", m)
	}
	return m
}

// rows reads JSON lines.
func rows(t *testing.T, text string) (all []mappedRow) {
	t.Helper()
	for line := range strings.Lines(text) {
		var r mappedRow
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		all = append(all, r)
	}
	return all
}

func TestMapNotesLeadToAllResults(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1").AnswerWith(func(call backendtest.Call) backendtest.Reply {
			return backendtest.Reply{Text: strings.Repeat(call.Prompt+" <b> & ", 3000)} // each takes more than a result may have
		}))
		seen := make(map[int]bool)
		for offset, calls := 1, 0; len(seen) < 3; calls++ {
			m := c.maps(fmt.Sprintf(`{"model":"tiny","prompt":"{{input}}","inputs":["a","b","c"],"offset":%d}`, offset))
			for _, r := range m.Results {
				seen[r.Index] = true
			}
			_, next, _ := strings.Cut(fmt.Sprint(m.Notes), "call again with offset ")
			if _, err := fmt.Sscan(strings.TrimRight(strings.Fields(next + " ?")[0], ","), &offset); err != nil || calls > 3 {
				t.Fatalf("after results %v the notes are %q", seen, m.Notes)
			}
		}
		beyond := c.maps(`{"model":"tiny","prompt":"{{input}}","inputs":["a","b","c"],"offset":17}`)
		if len(beyond.Results) != 0 || !strings.Contains(fmt.Sprint(beyond.Notes), "offset 0") {
			t.Errorf("beyond the last: %d results, %q", len(beyond.Results), beyond.Notes)
		}
	})
}

func TestJSONThatModelsReadHasPlainCharacters(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.use(backendtest.New("gpu-1"))
		c.as(caller.Caller{})
		a := c.succeeds("map", `{"model":"tiny","prompt":"{{input}}","inputs":["if a < b && c > d"]}`)
		if text := a.Content[0].Text; !strings.Contains(text, "if a < b && c > d") {
			t.Errorf("got %s", text)
		}
	})
}

// list is the JSON of texts n0, n1, …
func list(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("n%d", i)
	}
	raw, err := json.Marshal(all)
	if err != nil {
		panic(err)
	}
	return string(raw)
}

func TestMapAsksAboutEachInputAndAnswersInOrder(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := backendtest.New("gpu-1").TokenTime(time.Second)
		c.useAll(pool.Options{Slots: 2, Queue: 4}, host)
		m := c.maps(`{"model":"tiny","prompt":"of {{who}}: {{input}}","inputs":[{"who":"a","input":"x"},{"who":"b","input":"y"},{"who":"a","input":"x"}],"system":"Be brief.","options":{"seed":1}}`)
		if m.Inputs != 3 || m.Answered != 3 || m.Duplicates != 1 || m.Results[0].Output != "of a: x" || m.Results[1].Output != "of b: y" || m.Results[2].Output != "of a: x" || m.URI != "" {
			t.Errorf("got %+v", m)
		}
		calls := host.Calls()
		if len(calls) != 2 || calls[0].Generate.System != "Be brief." || calls[0].Generate.Options["seed"] != 1.0 {
			t.Errorf("the host was asked %+v", calls)
		}
		if m.TokensOut != 6 || m.TokensIn == 0 {
			t.Errorf("the tokens are not those of both questions: %+v", m)
		}
	})
}

func TestMapUsesWhatIsCachedAndAddsNothingToIt(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1"))
		asks := func(calls int, tool, args string) answer {
			before := len(host.Calls())
			a := c.succeeds(tool, args)
			if got := len(host.Calls()) - before; got != calls {
				t.Errorf("%s %s: the host was asked %d times, want %d", tool, args, got, calls)
			}
			return a
		}
		const question = `{"model":"tiny","prompt":"n7"}`
		asks(1, "generate", question)
		asks(9, "map", `{"model":"tiny","prompt":"{{input}}","inputs":`+list(10)+`}`)
		asks(0, "map", `{"model":"tiny","prompt":"{{input}}","inputs":`+list(10)+`}`) // which has kept its answers
		if got := c.engine.Status(c.who).Cache; got.Entries != 1 {
			t.Errorf("the cache has %d answers, want only that of generate", got.Entries)
		}
		asks(0, "generate", question)
		asks(1, "generate", `{"model":"tiny","prompt":"n8"}`)

		host.Answer("newer")
		asks(10, "map", `{"model":"tiny","prompt":"{{input}}","resume":false,"inputs":`+list(10)+`}`)
		if a := asks(0, "generate", question); a.Content[0].Text != "newer" {
			t.Errorf("got %q, want the answer that was asked for again", a.Content[0].Text)
		}
	})
}

func TestMapOfManyShowsTheFirstAndHasTheRestOnPages(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.who = caller.Caller{ID: "ci", Tenant: "ci"}
		host := backendtest.New("gpu-1").AnswerWith(func(call backendtest.Call) backendtest.Reply {
			return backendtest.Reply{Text: call.Prompt + strings.Repeat("x", 500)}
		})
		c.useAll(pool.Options{Slots: 2}, host)
		args := `{"model":"tiny","prompt":"{{input}}","inputs":` + list(200)
		m := c.maps(args + `}`)
		if m.Answered != 200 || len(m.Results) < 3 || len(m.Results) > 10 || m.Pages != 4 || !strings.HasSuffix(m.URI, "/1") || !strings.Contains(fmt.Sprint(m.Notes), fmt.Sprintf("call again with offset %d", len(m.Results))) {
			t.Errorf("got %+v", m)
		}
		var all []mappedRow
		for page := range m.Pages {
			text, err := c.read(strings.TrimSuffix(m.URI, "1") + fmt.Sprint(page+1))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, rows(t, text)...)
		}
		for i, row := range all {
			if row.Index != i || !strings.HasPrefix(row.Output, fmt.Sprintf("n%dx", i)) {
				t.Errorf("row %d is %.50v", i, row)
			}
		}
		if len(all) != 200 {
			t.Errorf("the pages have %d rows", len(all))
		}
		for _, uri := range []string{strings.TrimSuffix(m.URI, "/1"), strings.TrimSuffix(m.URI, "1") + "0", strings.TrimSuffix(m.URI, "1") + "5", m.URI + "/1"} {
			if text, err := c.read(uri); err == nil {
				t.Errorf("%s: got %.50s", uri, text)
			}
		}
		if _, err := c.as(caller.Caller{ID: "other", Tenant: "other"}).read(m.URI); err == nil {
			t.Error("another tenant reads the results")
		}
		asked := len(host.Calls())
		m = c.maps(args + `,"offset":190}`)
		if m.Reused != 200 || m.Results[0].Index != 190 || len(host.Calls()) != asked {
			t.Errorf("with an offset: %+v, and %d calls more", m, len(host.Calls())-asked)
		}
		if m = c.maps(args + `,"offset":200,"resume":false}`); m.Reused != 0 || len(m.Results) != 0 || len(host.Calls()) != asked+200 {
			t.Errorf("without resume: %+v, and %d calls more", m, len(host.Calls())-asked)
		}
	})
}

func TestMapOverLinesAndFilesIntoAFile(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		dir := c.allow(map[string]string{"rows.jsonl": `{"q":"one"}` + "\n" + `{"q":"two"}` + "\n", "a.txt": "alpha\n", "b.txt": "beta", "p.png": "\x89PNG\r\n\x1a\n"})
		host := backendtest.New("gpu-1").Install(backendtest.Model{Name: "eyes", Capabilities: []string{"completion", "vision"}})
		c.useAll(pool.Options{Slots: 2}, host)
		m := c.maps(`{"model":"tiny","prompt":"<{{q}}>","lines":["rows.jsonl"],"output_file":"out.jsonl"}`)
		text, err := os.ReadFile(filepath.Join(dir, "out.jsonl"))
		if err != nil {
			t.Fatal(err)
		}
		if all := rows(t, string(text)); len(all) != 2 || all[1].Output != "<two>" || all[1].Name != "rows.jsonl:2" || m.Path != filepath.Join(dir, "out.jsonl") || m.Bytes != len(text) || m.URI != "" {
			t.Errorf("got %+v, and the file %s", m, text)
		}
		m = c.maps(`{"model":"eyes","prompt":"Sum up {{name}}: {{input}}","files":["*.txt","p.png"]}`)
		if m.Answered != 3 || m.Results[0].Output != "Sum up a.txt: alpha\n" && m.Results[0].Output != "Sum up a.txt: alpha" || m.Results[2].Name != "p.png" {
			t.Errorf("got %+v", m)
		}
		if calls := host.Calls(); len(calls[len(calls)-1].Generate.Images)+len(calls[len(calls)-2].Generate.Images)+len(calls[len(calls)-3].Generate.Images) != 1 {
			t.Error("the image was not sent with its own prompt alone")
		}
		for args, want := range map[string][]string{
			`"lines":["rows.jsonl"],"output_file":"out.jsonl"`:     {"invalid_argument", "exists already"},
			`"lines":["rows.jsonl"],"output_file":"no/out.jsonl"`:  {"invalid_argument", "folder that does not exist"},
			`"lines":["rows.jsonl"],"output_file":"/etc/out.json"`: {"forbidden", "outside"},
			`"lines":["none.jsonl"]`:                               {"invalid_argument", "does not exist"},
			`"lines":["*.none"]`:                                   {"invalid_argument", "*.none"},
			`"files":["."]`:                                        {"invalid_argument", "directory"},
			`"files":["../*"]`:                                     {"forbidden", "outside"},
			`"lines":["p.png"]`:                                    {"invalid_argument", "p.png"},
		} {
			asked := len(host.Calls())
			c.fails("map", `{"model":"tiny","prompt":"{{input}}",`+args+`}`, want[0], want[1])
			if n := len(host.Calls()) - asked; n > 0 {
				t.Errorf("%s: the host was asked %d times", args, n)
			}
		}
	})
}

func TestMapOverWhatIsNoFileIsRefused(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		dir := c.allow(map[string]string{"a.txt": "alpha"})
		if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/etc/hostname", filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(filepath.Join(dir, "a.txt"), 50<<20); err != nil {
			t.Fatal(err)
		}
		c.use(backendtest.New("gpu-1"))
		for file, want := range map[string][]string{
			"fifo": {"invalid_argument", "is a pipe"}, "link": {"forbidden", "leads out of"}, "a.txt": {"invalid_argument", "52428800"},
		} {
			c.fails("map", `{"model":"tiny","prompt":"{{input}}","files":["`+file+`"]}`, want[0], want[1])
		}
		c.fails("map", `{"model":"tiny","prompt":"{{input}}","lines":["fifo"]}`, "invalid_argument", "is a pipe")
		c.fails("map", `{"model":"tiny","prompt":"{{input}}","lines":["a.txt"]}`, "invalid_argument", "line 1")
	})
}

func TestBadCallsOfMapCostNothing(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1"))
		for args, want := range map[string]string{
			`"prompt":"x","inputs":["a"]`:                             "has no {{input}}",
			`"prompt":"{{input}}"`:                                    "is needed",
			`"prompt":"{{input}}","inputs":[]`:                        `"inputs"`,
			`"prompt":"{{input}}","inputs":["a"],"lines":["b"]`:       "no more than one",
			`"prompt":"{{nome}}","inputs":[{"name":1}]`:               "did you mean {{name}}?",
			`"prompt":"{{input}}","inputs":[["a"]]`:                   "inputs[0]",
			`"prompt":"{{input}}","inputs":` + list(10_001):           "10001",
			`"prompt":"{{input}}","inputs":["a"],"format":"yaml"`:     "format",
			`"prompt":"{{input}}","inputs":["a"],"format":{"type":7}`: "format",
			`"prompt":"{{input}}","inputs":["a"],"offset":-1`:         "offset",
		} {
			c.fails("map", `{"model":"tiny",`+args+`}`, "invalid_argument", want)
		}
		c.fails("map", `{"model":"tinny","prompt":"{{input}}","inputs":["a","b"]}`, "model_not_found", "0 of 2 inputs were answered", "tinny")
		c.fails("map", `{"model":"tiny","prompt":"{{input}}","inputs":["a"],"host":"nowhere"}`, "invalid_argument", "nowhere")
		if n := len(host.Calls()); n > 2 { // for a model that it does not have
			t.Errorf("the host was asked %d times", n)
		}
	})
}

func TestMapChecksTheFormatOfEachAnswer(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.useAll(pool.Options{Slots: 2}, backendtest.New("gpu-1").AnswerWith(func(call backendtest.Call) backendtest.Reply {
			if strings.Contains(call.Prompt, "bad") {
				return backendtest.Reply{Text: "no JSON"}
			}
			return backendtest.Reply{Text: `{"n": 1}`}
		}))
		m := c.maps(`{"model":"tiny","prompt":"{{input}}","inputs":["good","bad"],"format":{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}}`)
		if m.Failed != 1 || m.Results[0].Data["n"] != 1.0 || m.Results[0].Output != "" || m.Results[1].Error == nil || m.Results[1].Error.Code != "upstream" || m.Results[1].Partial != "no JSON" {
			t.Errorf("got %+v", m)
		}
		if !strings.Contains(fmt.Sprint(m.Notes), "Inputs that failed: 1. The same call again asks only for them.") {
			t.Errorf("the notes are %q", m.Notes)
		}
	})
}

func TestMapIsHeldBackByItsCallersLimitsAndLeavesRoomForOthers(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.who = caller.Caller{ID: "ci", Tenant: "ci", Limits: caller.Limits{PerSecond: 2, Burst: 4, InFlight: 3}}
		host := backendtest.New("gpu-1").TokenTime(3 * time.Second)
		c.useAll(pool.Options{Slots: 4}, host)
		began := time.Now()
		a := c.succeeds("map", `{"model":"tiny","prompt":"{{input}}","inputs":`+list(12)+`,"wait_seconds":0,"options":{"seed":1}}`)
		id := a.StructuredContent["job"].(string)
		time.Sleep(3500 * time.Millisecond)
		c.succeeds("generate", `{"model":"tiny","prompt":"beside it"}`)
		var m mapped
		a = c.succeeds("job", `{"id":"`+id+`","wait_seconds":100}`)
		if err := json.Unmarshal([]byte(a.Content[0].Text), &m); err != nil || m.Answered != 12 || m.Failed != 0 {
			t.Errorf("got %+v, %v", a, err)
		}
		if most := host.Stats().MaxInFlight; most > 3 {
			t.Errorf("%d calls of the caller were in flight, of 3", most)
		}
		if took := time.Since(began); took < 18*time.Second {
			t.Errorf("it took %v, with two of 3 s at a time", took)
		}
	})
}

func TestMapGoesOnAsAJobWithProgressAndIsCancelled(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.who = caller.Caller{ID: "ci", Tenant: "ci"}
		host := backendtest.New("gpu-1").TokenTime(10 * time.Second)
		c.useAll(pool.Options{Slots: 1}, host)
		args := `{"model":"tiny","prompt":"{{input}}","inputs":` + list(20)
		a := c.succeeds("map", args+`,"wait_seconds":55}`)
		if a.StructuredContent["done"] != 5.0 || a.StructuredContent["of"] != 20.0 || a.StructuredContent["expected_seconds"].(float64) < 100 || !strings.HasPrefix(fmt.Sprint(a.StructuredContent["progress"]), "5 of 20 done, about") {
			t.Errorf("got %+v", a.StructuredContent)
		}
		id := a.StructuredContent["job"].(string)
		c.succeeds("job", `{"id":"`+id+`","action":"cancel"}`)
		c.fails("job", `{"id":"`+id+`"}`, "cancelled", "5 of 20 inputs were answered", "the same call again asks only for the others")
		synctest.Wait() // until the host has noticed that the request in flight was cancelled
		asked := len(host.Calls())
		m := c.maps(args + `,"wait_seconds":500}`)
		if n := len(host.Calls()) - asked; n != 15 || m.Reused != 5 || m.Answered != 20 {
			t.Errorf("then %d were asked: %+v", n, m)
		}
		m = c.maps(strings.Replace(args, `"n0"`, `"m0"`, 1) + `,"timeout_seconds":5,"wait_seconds":100}`)
		if m.Answered != 19 || m.Unasked+m.Failed != 1 || m.Results[0].Error.Code != "timeout" { // both time limits end at the same instant
			t.Errorf("with a time limit: %+v", m)
		}
	})
}

func TestInteractiveCallBesideAMapWaitsForOneTurn(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := backendtest.New("gpu-1").TokenTime(4 * time.Second)
		c.useAll(pool.Options{Slots: 2}, host)
		a := c.succeeds("map", `{"model":"tiny","prompt":"{{input}}","inputs":`+list(50)+`,"wait_seconds":0}`)
		if a.StructuredContent["job"] == nil {
			t.Fatalf("got %+v", a)
		}
		for range 5 {
			time.Sleep(9 * time.Second)
			began := time.Now()
			c.succeeds("generate", `{"model":"tiny","prompt":"urgent"}`)
			if took := time.Since(began); took > 8*time.Second {
				t.Errorf("the interactive call took %v, and a turn takes 4 s", took)
			}
		}
	})
}

// The slots of the hosts are never idle while there is something left to ask.
func TestMapIsAsFastAsThePoolItself(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		fast, slow := backendtest.New("fast").TokenTime(100*time.Millisecond), backendtest.New("slow").TokenTime(250*time.Millisecond)
		c.useAll(pool.Options{Slots: 3, Queue: 50}, fast, slow)
		began := time.Now()
		m := c.maps(`{"model":"tiny","prompt":"{{input}}","inputs":` + list(1000) + `,"wait_seconds":600}`)
		const perSecond = 3/0.1 + 3/0.25
		took, ideal := time.Since(began), 1000*time.Second/perSecond
		if m.Answered != 1000 || float64(ideal)/float64(took) < 0.97 {
			t.Errorf("it took %v, and the hosts can do it in %v: %+v", took, ideal, m.Notes)
		}
	})
}
