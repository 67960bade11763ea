package tools_test

import (
	"testing"

	"ollama-mcp/internal/backend/backendtest"
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
		asked := len(host.Calls())
		for args, want := range map[string]string{
			`"query":" ","documents":["a"]`:                   `"query" is empty`,
			`"query":"q","documents":["a"," "]`:               "documents[1] is empty",
			`"query":"q"`:                                     "is needed",
			`"query":"q","documents":["a"],"files":["a.txt"]`: "no more than one",
			`"query":"q","files":["c.txt"]`:                   "c.txt is empty",
			`"query":"q","files":["p.png"]`:                   "p.png is an image",
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
