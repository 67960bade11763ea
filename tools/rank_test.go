package tools_test

import (
	"fmt"
	"strings"
	"testing"

	"ollama-mcp/internal/backend/backendtest"
	"ollama-mcp/pool"
)

func TestRankOrdersDocumentsBySimilarityAndTellsNoVectors(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		c.who.Tenant = "ci"
		c.allow(map[string]string{"a.txt": "how to bake bread at home", "b.txt": "tax law of 1980", "c.txt": " \n", "p.png": "\x89PNG\r\n\x1a\n"})
		host := c.use(backendtest.New("gpu-1").Install(backendtest.Model{Name: "words", Dimensions: 64, Capabilities: []string{"embedding"}}))
		a := c.succeeds("rank", `{"model":"words","query":"bake bread","documents":["tax law","bake bread","bread"],"top_k":2}`)
		got := a.StructuredContent["ranked"].([]any)
		first, second := got[0].(map[string]any), got[1].(map[string]any)
		if len(got) != 2 || first["index"] != 1.0 || first["score"] != 1.0 || second["index"] != 2.0 || len(a.Content[0].Text) > 200 {
			t.Errorf("got %s", a.Content[0].Text)
		}
		a = c.succeeds("rank", `{"model":"words","query":"bread","files":["a.txt","b.txt"]}`)
		if first := a.StructuredContent["ranked"].([]any)[0].(map[string]any); first["name"] != "a.txt" || first["index"] != 0.0 {
			t.Errorf("got %s", a.Content[0].Text)
		}
		a = c.succeeds("rank", `{"model":"words","query":"bread","files":["*"]}`)
		if got, notes := a.StructuredContent["ranked"].([]any), fmt.Sprint(a.StructuredContent["notes"]); len(got) != 2 ||
			!strings.Contains(notes, "Files left out: c.txt is empty; p.png is an image, and only texts are ranked.") {
			t.Errorf("got %v and the notes %s, want the two texts and why the other files were left out", got, notes)
		}
		asked := len(host.Calls())
		for args, want := range map[string]string{
			`"query":" ","documents":["a"]`:                   `"query" is empty`,
			`"query":"q","documents":["a"," "]`:               "documents[1] is empty",
			`"query":"q"`:                                     "is needed",
			`"query":"q","documents":["a"],"files":["a.txt"]`: "no more than one",
			`"query":"q","files":["c.txt"]`:                   "c.txt is empty",
			`"query":"q","files":["p.png"]`:                   "p.png is an image",
			`"query":"q","files":["*.png"]`:                   "p.png is an image",
			`"query":"q","documents":["a"],"top_k":0`:         "top_k",
		} {
			c.fails("rank", `{"model":"words",`+args+`}`, "invalid_argument", want)
		}
		c.fails("rank", `{"model":"words","query":"q","files":["/etc/passwd"]}`, "forbidden", "outside")
		if n := len(host.Calls()); n != asked {
			t.Errorf("bad calls asked the host %d times", n-asked)
		}
		c.fails("rank", `{"model":"none","query":"q","documents":["a"]}`, "model_not_found", "none")
		asked = len(host.Calls())
		c.succeeds("rank", `{"model":"words","query":"bake bread","documents":["tax law","bake bread","bread"]}`)
		if n := len(host.Calls()) - asked; !c.cacheOff && n > 0 {
			t.Errorf("the same documents were embedded again, in %d requests", n)
		}
	})
}

// Vectors of two models do not compare, though the models may have the same name.
func TestRankComparesNoVectorsOfTwoModels(t *testing.T) {
	story(t, func(t *testing.T, c *client) {
		words := func(dimensions int) backendtest.Model {
			return backendtest.Model{Name: "words", Dimensions: dimensions, Capabilities: []string{"embedding"}}
		}
		const bread = `"query":"bake bread","documents":["tax law","bake bread","water"]`
		first := func(args string) any {
			return c.succeeds("rank", args).StructuredContent["ranked"].([]any)[0].(map[string]any)["index"]
		}
		host := c.use(backendtest.New("gpu-1").Install(words(64)).Install(backendtest.Model{Name: "other", Dimensions: 32, Capabilities: []string{"embedding"}}))
		for _, model := range []string{"words", "other", "words"} {
			if got := first(`{"model":"` + model + `",` + bread + `}`); got != 1.0 {
				t.Errorf("%s: the first is %v", model, got)
			}
		}
		host.Install(words(32)) // pulled anew
		if got := first(`{"model":"words","query":"bake bread","documents":["tax law","new","bake bread"]}`); got != 2.0 {
			t.Errorf("of the model that was pulled anew, the first is %v", got)
		}

		one, two := backendtest.New("gpu-1").Install(words(64)), backendtest.New("gpu-2").Install(words(32))
		c.useAll(pool.Options{Slots: 1}, one, two)
		var many []string
		for i := range 200 {
			many = append(many, fmt.Sprintf(`"document %d"`, i))
		}
		c.fails("rank", `{"model":"words","query":"document","documents":[`+strings.Join(many, ",")+`]}`, "upstream", "differ in length")
	})
}
