package inference_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/internal/fault"
	"ollama-mcp/internal/inference"
)

// texts are so many inputs as JSON, without the brackets.
func texts(n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(`"text %d"`, i)
	}
	return strings.Join(all, ",")
}

// inputsOf are the texts of an embed request.
func inputsOf(c backendtest.Call) (all []string) {
	var sent struct{ Input []string }
	_ = json.Unmarshal(c.Body, &sent)
	return sent.Input
}

// badWhen has a host fail if one of the bad texts is in a request, with the fault of its kind.
func badWhen(host *backendtest.Host, fault func(batch int) backendtest.Fault, bad ...int) {
	host.FailWhen(func(c backendtest.Call) backendtest.Fault {
		sent := inputsOf(c)
		if slices.ContainsFunc(bad, func(i int) bool { return slices.Contains(sent, fmt.Sprintf("text %d", i)) }) {
			return fault(len(sent))
		}
		return nil
	})
}

func refusing(status int, said string) func(int) backendtest.Fault {
	return func(int) backendtest.Fault { return backendtest.Refuse(status, said) }
}

// nullIn answers with vectors of which the last is not one of numbers.
func nullIn(vector string) func(int) backendtest.Fault {
	return func(batch int) backendtest.Fault {
		good := strings.Repeat("[1,0,0,0,0,0,0,0],", batch-1)
		return backendtest.Respond(http.StatusOK, "application/json", `{"embeddings":[`+good+vector+`]}`)
	}
}

func TestBadTextsAreNamedAllAtOnceAndTheOthersAreKept(t *testing.T) {
	faults := map[string]struct {
		fault func(int) backendtest.Fault
		code  string
	}{
		"NaN":            {refusing(500, "failed to encode response: json: unsupported value: NaN"), "upstream"},
		"NaN, called ok": {refusing(400, "embedding contains NaN or Inf values"), "upstream"},
		"null":           {nullIn("[null,1,0,0,0,0,0,0]"), "upstream"},
		"null for all":   {nullIn("null"), "upstream"},
		"of no length":   {nullIn("[]"), "upstream"},
		"too long":       {refusing(500, "the input length exceeds the context length"), "context_too_long"},
		"refused":        {refusing(400, "what is this?"), "invalid_argument"},
	}
	for name, tc := range faults {
		for _, bad := range [][]int{{16}, {0}, {39}, {0, 31, 32}, {3, 4, 17, 39}} {
			cacheStory(t, func(t *testing.T, c *client) {
				host := c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "words", Dimensions: 8}))
				badWhen(host, tc.fault, bad...)
				var names []string
				for _, i := range bad {
					names = append(names, fmt.Sprintf("input[%d]", i))
				}
				a := c.fails("embed", `{"model":"words","input":[`+texts(40)+`]}`, tc.code, strings.Join(names, ", ")+":")
				if a.err.Retryable {
					t.Errorf("%s, %v: it is said to be worth another try", name, bad)
				}
				if n := len(host.Calls()); n > 2+len(bad)*12 {
					t.Errorf("%s, %v: the host was asked %d times", name, bad, n)
				}
				if s := c.status().Hosts.Hosts[0]; s.Breaker != "closed" || len(s.Ejected) > 0 {
					t.Errorf("%s: %+v", name, s)
				}
				asked := len(host.Calls())
				var good []string
				for i := range 40 {
					if !slices.Contains(bad, i) {
						good = append(good, fmt.Sprintf(`"text %d"`, i))
					}
				}
				c.succeeds("embed", `{"model":"words","input":[`+strings.Join(good, ",")+`]}`)
				if more := len(host.Calls()) - asked; more != 0 {
					t.Errorf("%s, %v: the good ones were asked for again, in %d requests", name, bad, more)
				}
			})
		}
	}
}

// places are those of the texts that failed.
func (a answer) places() []int {
	var places []int
	for _, f := range a.failed {
		places = append(places, f.Input)
	}
	return places
}

// noVectors answers as if no text had been sent, as servers do that leave out a text.
func noVectors(int) backendtest.Fault {
	return backendtest.Respond(http.StatusOK, "application/json", `{"embeddings":[]}`)
}

func TestBadTextsFailAloneWhateverTheWordsOfTheHost(t *testing.T) {
	faults := map[string]struct {
		fault func(int) backendtest.Fault
		code  string
	}{
		"NaN":           {refusing(500, "failed to encode response: json: unsupported value: NaN"), "upstream"},
		"null":          {nullIn("[null,1,0,0,0,0,0,0]"), "upstream"},
		"too long":      {refusing(500, "the input length exceeds the context length"), "context_too_long"},
		"refused":       {refusing(400, "what is this?"), "invalid_argument"},
		"unknown words": {refusing(500, "the flux capacitor is upset"), "upstream"},
		"no words":      {refusing(502, ""), "upstream"},
		"no vectors":    {noVectors, "upstream"},
	}
	for name, tc := range faults {
		for _, bad := range [][]int{{0}, {39}, {0, 31, 32}, {3, 4, 17}} {
			story(t, func(t *testing.T, c *client) {
				host := c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "words", Dimensions: 8}))
				badWhen(host, tc.fault, bad...)
				a := c.succeeds("embed", `{"model":"words","partial":true,"input":[`+texts(40)+`]}`)
				if !slices.Equal(a.places(), bad) {
					t.Fatalf("%s, %v: %v failed: %v", name, bad, a.places(), a.failed)
				}
				for _, f := range a.failed {
					if string(f.Err.Code) != tc.code || f.Err.Retryable || strings.Contains(f.Err.Message, "input[") {
						t.Errorf("%s, %v: input %d failed with %+v", name, bad, f.Input, f.Err)
					}
				}
				for i, v := range a.vectors {
					if isBad := slices.Contains(bad, i); isBad != (v == nil) || !isBad && len(v) != 8 {
						t.Errorf("%s, %v: text %d has the vector %v", name, bad, i, v)
					}
				}
				if n := len(host.Calls()); n > 4+len(bad)*14 {
					t.Errorf("%s, %v: the host was asked %d times", name, bad, n)
				}
				if s := c.status().Hosts.Hosts[0]; s.Breaker != "closed" || len(s.Ejected) > 0 {
					t.Errorf("%s: %+v", name, s)
				}
				if s := a.served; s.Model != "words" || s.Host != "gpu-1" || s.Source != inference.Local {
					t.Errorf("%s: served %+v", name, s)
				}
			})
		}
	}
}

// crash is how Ollama says that the process of a model has died.
const crash = "llama runner process has terminated: exit status 2"

// crashWhen has the model of a host crash under each of the bad texts, and counts the crashes.
func crashWhen(host *backendtest.Host, bad ...int) (crashes func() int) {
	var n atomic.Int64
	badWhen(host, func(int) backendtest.Fault {
		n.Add(1)
		return backendtest.Refuse(500, crash)
	}, bad...)
	return func() int { return int(n.Load()) }
}

func TestTextsUnderWhichTheModelCrashesAreNamedAfterFewCrashes(t *testing.T) {
	for _, tt := range []struct {
		bad     []int
		crashes int // two for each batch, and two for each of the texts unless they share a part
	}{{[]int{0}, 4}, {[]int{16}, 4}, {[]int{39}, 4}, {[]int{3, 4}, 5}, {[]int{0, 39}, 8}} {
		story(t, func(t *testing.T, c *client) {
			host := c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "words", Dimensions: 8}))
			crashes := crashWhen(host, tt.bad...)
			a := c.succeeds("embed", `{"model":"words","partial":true,"input":[`+texts(40)+`]}`)
			if !slices.Equal(a.places(), tt.bad) || crashes() != tt.crashes {
				t.Fatalf("%v: %v failed after %d crashes, want %d: %v", tt.bad, a.places(), crashes(), tt.crashes, a.failed)
			}
			for _, f := range a.failed {
				if f.Err.Code != fault.Upstream || f.Err.Retryable || !strings.Contains(f.Err.Message, "crashes the model") {
					t.Errorf("%v: input %d failed with %+v", tt.bad, f.Input, f.Err)
				}
			}
			for i, v := range a.vectors {
				if isBad := slices.Contains(tt.bad, i); isBad != (v == nil) {
					t.Errorf("%v: text %d has the vector %v", tt.bad, i, v)
				}
			}
		})
	}
}

func TestLookForTextsThatCrashTheModelIsBounded(t *testing.T) {
	every := func(n int) (bad []int) {
		for i := n - 1; i < 64; i += n {
			bad = append(bad, i)
		}
		return bad
	}
	for n, most := range map[int]int{1: 2 + 3, 4: 2 + 7} { // the model itself is broken, or many of the texts are bad
		story(t, func(t *testing.T, c *client) {
			host := c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "words", Dimensions: 8}))
			crashes := crashWhen(host, every(n)...)
			a := c.fails("embed", `{"model":"words","partial":true,"input":[`+texts(64)+`]}`, "upstream", "crashes the model")
			if crashes() > most || strings.Contains(a.text, "input[") {
				t.Errorf("one in %d: after %d crashes, want %d at most: %v", n, crashes(), most, a)
			}
		})
	}
}

func TestCachedVectorsStayBesideTextsThatFail(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "words", Dimensions: 8}))
		badWhen(host, refusing(400, "embedding contains NaN or Inf values"), 1)
		for call := range 2 {
			before := len(host.Calls())
			a := c.succeeds("embed", `{"model":"words","partial":true,"input":["text 0","text 1","text 2","text 1"]}`)
			if !slices.Equal(a.places(), []int{1, 3}) || a.vectors[0] == nil || a.vectors[2] == nil {
				t.Errorf("call %d: %v", call, a)
			}
			if n := len(host.Calls()) - before; call == 1 && n != 1 {
				t.Errorf("the second call made %d requests, want one for the text that failed", n)
			}
		}
		c.fails("embed", `{"model":"words","partial":true,"input":["text 1","text 1"]}`, "upstream", "input[0], input[1]")
		c.fails("embed", `{"model":"words","partial":true,"input":["text 1"]}`, "upstream")
	})
}

func TestHostThatFailsForAllTextsIsNotCuredByBlamingThem(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.opts.CacheMode = "off"
		host := c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "words", Dimensions: 8}))
		host.FailWhen(func(backendtest.Call) backendtest.Fault {
			return backendtest.Refuse(500, "the flux capacitor is upset")
		})
		a := c.fails("embed", `{"model":"words","partial":true,"input":[`+texts(40)+`]}`, "upstream", "flux capacitor")
		if n := len(host.Calls()); n > 4+3*3 || strings.Contains(a.text, "input[") { // the retries, with samples after all but the first
			t.Errorf("%d requests: %v", n, a)
		}
	})
}

// A failure that does not repeat itself says nothing about a text.
func TestTextThatFailsByChanceIsEmbedded(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "words", Dimensions: 8}))
		failures := 0
		host.FailWhen(func(call backendtest.Call) backendtest.Fault {
			if sent := inputsOf(call); slices.Contains(sent, "text 5") && failures < 7 { // the last of them while text 5 is alone
				failures++
				return backendtest.Refuse(500, "the flux capacitor is upset")
			}
			return nil
		})
		a := c.succeeds("embed", `{"model":"words","partial":true,"input":[`+texts(32)+`]}`)
		if failures != 7 || len(a.failed) > 0 || len(host.Calls()) < 8 {
			t.Errorf("after %d failures: %v", failures, a)
		}
	})
}

func TestManyBadTextsAreFoundIfMostAreGood(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "words", Dimensions: 8}))
		var bad []int
		for i := 7; i < 1000; i += 32 { // one in each batch
			bad = append(bad, i)
		}
		badWhen(host, refusing(500, "json: unsupported value: NaN"), bad...)
		a := c.succeeds("embed", `{"model":"words","partial":true,"input":[`+texts(1000)+`]}`)
		if !slices.Equal(a.places(), bad) {
			t.Errorf("%d failed, want %d", len(a.failed), len(bad))
		}
	})
}

func TestTextsThatWereNotTriedAloneSaySo(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "words", Dimensions: 8}))
		var bad []int
		for i := 1; i < 500; i++ {
			bad = append(bad, i)
		}
		badWhen(host, refusing(500, "json: unsupported value: NaN"), bad...)
		a := c.succeeds("embed", `{"model":"words","partial":true,"input":[`+texts(500)+`]}`)
		if !slices.Equal(a.places(), bad) || len(host.Calls()) > 128+16+8 {
			t.Fatalf("%d failed, after %d requests", len(a.failed), len(host.Calls()))
		}
		if first, last := a.failed[0].Err, a.failed[498].Err; strings.Contains(first.Hint, "together") || !strings.Contains(last.Hint, "together with others") {
			t.Errorf("the hints are %q and %q", first.Hint, last.Hint)
		}
	})
}

func TestTextThatOneModelCannotEmbedIsEmbeddedByTheNext(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		for _, fault := range []func(int) backendtest.Fault{refusing(500, "json: unsupported value: NaN"), refusing(500, "the flux capacitor is upset"), refusing(500, crash)} {
			host, lan, _ := c.sameAs("lan/words")
			badWhen(host, fault, 3)
			a := c.succeeds("embed", `{"model":"words","partial":true,"input":[`+texts(8)+`]}`)
			if calls := lan.Calls(); len(a.failed) != 0 || len(calls) != 1 || len(inputsOf(calls[0])) != 1 || a.served.Model != "lan/words" {
				t.Errorf("the provider was asked %d times: %v", len(calls), a)
			}
			lan.Down()
			a = c.succeeds("embed", `{"model":"words","partial":true,"input":[`+texts(8)+`]}`)
			if !slices.Equal(a.places(), []int{3}) || a.served.Model != "words" || a.served.Passed != nil || a.notes != "" {
				t.Errorf("%v", a)
			}
			host.Down()
			c.fails("embed", `{"model":"words","partial":true,"input":["other"]}`, "no_host")
		}
	})
}

func TestRequestThatFailsForEachOfItsTextsIsNotBlamedOnThem(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "words", Dimensions: 8}))
		for said, most := range map[string]int{"invalid dimensions": 63, `"words" does not support embeddings`: 1} {
			before := len(host.Calls())
			host.FailWhen(func(backendtest.Call) backendtest.Fault { return backendtest.Refuse(400, said) })
			a := c.fails("embed", `{"model":"words","input":[`+texts(500)+`]}`, "invalid_argument")
			if n := len(host.Calls()) - before; n > most || strings.Contains(a.err.Message, "input[") {
				t.Errorf("%s: after %d requests: %v", said, n, a)
			}
		}
	})
}

func TestLookForBadTextsIsBounded(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "words", Dimensions: 8}))
		host.FailWhen(func(backendtest.Call) backendtest.Fault {
			return backendtest.Refuse(500, "json: unsupported value: NaN")
		})
		c.fails("embed", `{"model":"words","input":[`+texts(500)+`]}`, "upstream", "input[0], input[1]", "and 480 more")
		if n := len(host.Calls()); n > 128+16 { // two for each half, and one for each of 16 batches
			t.Errorf("%d requests for 500 bad texts", n)
		}
	})
}

// otherLength has a host answer with a vector of another length for any of the texts.
func otherLength(host *backendtest.Host, texts ...int) {
	badWhen(host, func(batch int) backendtest.Fault {
		vectors := strings.Repeat("[1,0,0,0,0,0,0,0],", batch-1) + "[1,0,0]"
		return backendtest.Respond(http.StatusOK, "application/json", `{"embeddings":[`+vectors+`]}`)
	}, texts...)
}

func TestVectorsOfUnequalLengthAreAFailureOfTheHost(t *testing.T) {
	for name, tc := range map[string]struct {
		text     int
		requests int
	}{
		"in a batch":       {1, 4}, // three of them are retries
		"in another batch": {32, 2},
	} {
		story(t, func(t *testing.T, c *client) {
			host := c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "words", Dimensions: 8}))
			otherLength(host, tc.text)
			n := 33
			a := c.fails("embed", `{"model":"words","input":[`+texts(n)+`]}`, "upstream", "differ in length")
			if n := len(host.Calls()); n != tc.requests || strings.Contains(a.err.Message, "input[") {
				t.Errorf("%s: %d requests, want %d; %v", name, n, tc.requests, a)
			}
		})
	}
}

func TestCachedVectorsThatFitNoNewOnesAreReplaced(t *testing.T) {
	cacheStory(t, func(t *testing.T, c *client) {
		host := c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "words", Dimensions: 8}))
		otherLength(host, 0)
		c.succeeds("embed", `{"model":"words","input":["text 0"]}`)
		host.FailWhen(nil)
		c.succeeds("embed", `{"model":"words","input":["text 1"]}`)
		for _, want := range []int{3, 3} { // all cached, and those of the first call replaced
			a := c.succeeds("embed", `{"model":"words","input":["text 1","text 0"]}`)
			if n := len(host.Calls()); n != want || len(a.vectors[0]) != 8 || len(a.vectors[1]) != 8 {
				t.Errorf("%d requests, want %d; %v", n, want, a.vectors)
			}
		}
		otherLength(host, 2)
		c.fails("embed", `{"model":"words","input":["text 1","text 2"]}`, "upstream", "differ in length")
		host.FailWhen(nil)
		c.succeeds("embed", `{"model":"words","input":["text 1","text 2"]}`)
	})
}
