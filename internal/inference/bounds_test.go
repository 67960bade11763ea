package inference_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/pool"
)

// doublingFormat is a format each of whose sixty levels doubles what is behind it.
func doublingFormat(level string) string {
	var defs []string
	for i := range 60 {
		next := fmt.Sprintf(`{"$ref":"#/$defs/a%d"}`, i+1)
		defs = append(defs, fmt.Sprintf(`"a%d":%s`, i, strings.ReplaceAll(level, "NEXT", next)))
	}
	return fmt.Sprintf(`{"$defs":{%s,"a60":{"type":"string"}},"not":{"$ref":"#/$defs/a0"}}`, strings.Join(defs, ","))
}

func TestFormatThatIsExpensiveToCheckIsRefusedBeforeAHostIsAsked(t *testing.T) {
	for _, level := range []string{`{"allOf":[NEXT,NEXT]}`, `{"if":NEXT,"then":NEXT}`, `{"properties":{"x":NEXT,"y":NEXT}}`, `{"items":{"anyOf":[NEXT,NEXT]}}`} {
		story(t, func(t *testing.T, c *client) {
			host := c.use(backendtest.New("gpu-1").Answer(`{"x":1}`))
			var calls sync.WaitGroup
			for range 4 {
				calls.Go(func() {
					c.fails("generate", `{"model":"tiny","prompt":"?","format":`+doublingFormat(level)+`}`, "invalid_argument", `argument "format" has`)
				})
			}
			calls.Wait()
			if n := len(host.Calls()); n > 0 {
				t.Errorf("%s: the host was asked %d times", level, n)
			}
			expectIdle(t, c)
		})
	}
}

// expectIdle fails the test if a slot is held.
func expectIdle(t *testing.T, c *client) {
	t.Helper()
	for _, h := range c.status().Hosts.Hosts {
		if h.Busy != 0 {
			t.Errorf("%s: %d slots are held", h.Name, h.Busy)
		}
	}
}

func TestAnswerThatIsExpensiveToCheckIsAMisfitWithItsText(t *testing.T) {
	recursive := `{"allOf":[{"properties":{"x":{"$ref":"#"}}},{"properties":{"x":{"$ref":"#"}}}]}`
	for _, tc := range []struct{ format, text, why string }{
		{`{"properties":{"a":{"minimum":0}}}`, `{"a":1e99999999}`, "the number 1e99999999"},
		{`{"type":"array","items":{"minimum":0}}`, `[` + strings.Repeat("1e999999,", 400) + `0]`, "the number 1e999999"},
		{`"json"`, `{"a":1e99999999}`, "the number 1e99999999"},
		{recursive, strings.Repeat(`{"x":`, 60) + "1" + strings.Repeat("}", 60), "too many steps"},
		{`"json"`, strings.Repeat(`{"x":`, 2000) + "1" + strings.Repeat("}", 2000), "nested too deep"},
	} {
		story(t, func(t *testing.T, c *client) {
			host := c.use(backendtest.New("gpu-1").Answer(tc.text))
			a := c.fails("generate", `{"model":"tiny","prompt":"?","format":`+tc.format+`}`, "upstream", "does not fit the format", tc.why)
			if !strings.Contains(a.partial, tc.text) {
				t.Errorf("%.40s: the text is not beside the error: %.100s", tc.text, a.partial)
			}
			if n := len(host.Calls()); n != 2 {
				t.Errorf("%.40s: the host was asked %d times, want 2: the model is told once", tc.text, n)
			}
			expectIdle(t, c)
		})
	}
}

func TestSlotIsFreeWhileAnAnswerIsChecked(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		host := backendtest.New("gpu-1").AnswerWith(func(c backendtest.Call) backendtest.Reply {
			time.Sleep(time.Second) // takes no real time
			return backendtest.Reply{Text: `{"answer":"` + c.Prompt[:1] + `"}`}
		})
		c.useAll(pool.Options{Slots: 1}, host)
		var calls sync.WaitGroup
		calls.Go(func() { c.call(context.Background(), "generate", `{"model":"tiny","prompt":"first",`+wantsNumber+`}`) })
		synctest.Wait()
		calls.Go(func() { c.succeeds("generate", `{"model":"tiny","prompt":"second"}`) })
		calls.Wait()
		var order []string
		for _, call := range host.Calls() {
			order = append(order, strings.Fields(call.Prompt)[0])
		}
		if fmt.Sprint(order) != "[first second first]" {
			t.Errorf("the host was asked in the order %v: a call that waits comes before the repair of an answer", order)
		}
	})
}

func TestTextWithAHundredThousandThoughtsIsTakenApart(t *testing.T) {
	storyWith(t, &client{}, func(t *testing.T, c *client) {
		// With work that grows by the square, this takes hours.
		c.use(backendtest.New("gpu-1").Answer(strings.Repeat(strings.Repeat("<think>x</THINK>", 50)+" ", 2000) + "42"))
		if a := c.succeeds("generate", `{"model":"tiny","prompt":"?"}`); a.text != "42" {
			t.Errorf("got %.100s", a.text)
		}
		c.use(backendtest.New("gpu-1").Answer("<think>x</think><think>y</think> <thi"))
		if a := c.succeeds("generate", `{"model":"tiny","prompt":"?","think":true}`); a.text != "<thi" || a.thinking != "xy" {
			t.Errorf("got %.100s, thinking %.100s", a.text, a.thinking)
		}
	})
}

// anyFormat draws a format of a few definitions that refer to each other, or to the whole.
func anyFormat(r *rapid.T) string {
	refs := rapid.SampledFrom([]string{`{"$ref":"#"}`, `{"$ref":"#/$defs/a"}`, `{"$ref":"#/$defs/b"}`, `{"type":"integer","minimum":0}`, `{"type":"string"}`, `true`})
	part := rapid.Custom(func(r *rapid.T) string {
		word := rapid.SampledFrom([]string{
			`{"allOf":[X,Y]}`, `{"anyOf":[X,Y]}`, `{"oneOf":[X,Y]}`, `{"not":X}`, `{"if":X,"then":Y}`, `{"properties":{"x":X,"y":Y}}`,
			`{"allOf":[{"properties":{"x":X}},{"properties":{"x":Y}}]}`, `{"items":X,"contains":Y}`, `{"additionalProperties":X}`,
		}).Draw(r, "word")
		return strings.NewReplacer("X", refs.Draw(r, "X"), "Y", refs.Draw(r, "Y")).Replace(word)
	})
	whole := part.Draw(r, "whole")
	return fmt.Sprintf(`{"$defs":{"a":%s,"b":%s},%s`, part.Draw(r, "a"), part.Draw(r, "b"), whole[1:])
}

// anyText draws an answer that is nested up to eighty levels deep.
func anyText(r *rapid.T) string {
	text := rapid.SampledFrom([]string{`1`, `"x"`, `1e999`, `1e99999999`, `-1e-99999999`, `null`, `{`}).Draw(r, "inside")
	level := rapid.SampledFrom([]string{`{"x":V}`, `[V]`, `{"x":V,"y":1}`, `[V,V]`, "```json\nV\n```"})
	for range rapid.IntRange(0, 4).Draw(r, "runs") {
		around := level.Draw(r, "level")
		most := 20
		if strings.Count(around, "V") > 1 {
			most = 3
		}
		for range rapid.IntRange(0, most).Draw(r, "times") {
			text = strings.ReplaceAll(around, "V", text)
		}
	}
	return text
}

func TestNoFormatAndNoAnswerHoldsASlot(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		format, text := anyFormat(r), anyText(r)
		problem := ""
		storyWith(t, &client{}, func(_ *testing.T, c *client) {
			host := c.use(backendtest.New("gpu-1").Answer(text))
			a := c.call(context.Background(), "generate", `{"model":"tiny","prompt":"?","format":`+format+`}`)
			busy := c.status().Hosts.Hosts[0].Busy
			switch asked := len(host.Calls()); {
			case busy > 0:
				problem = fmt.Sprintf("%d slots are held", busy)
			case a.code() == "invalid_argument" && asked > 0, a.code() == "upstream" && (asked != 2 || a.partial != text):
				problem = fmt.Sprintf("asked %d times: %v", asked, a)
			case a.code() != "" && a.code() != "invalid_argument" && a.code() != "upstream":
				problem = a.String()
			}
		})
		if problem != "" {
			r.Fatalf("%s for %s: %s", text, format, problem)
		}
	})
}
